"""A fleet that is upgraded host by host: old agent with new API and the other way round."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cenote.model.paths import Layout
from cenote_client import CenoteError, Client
from tests.support import old_version
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.held import held_clients
from tests.support.service import SMALLEST, added_pool, answer_of, online
from tests.support.waiting import wait_until

EVERYWHERE = "--host=0.0.0.0"  # so that no server listens elsewhere after the upgrade

pytestmark = pytest.mark.long


def test_hosts_of_two_versions_work_with_each_other_until_both_are_upgraded() -> None:
    with fleet(0) as hosts:
        former = old_version.command(old_version.LANDED)
        one, two = (hosts.add(EVERYWHERE, command=former) for _ in range(2))
        with one.client() as first, two.client() as second:
            made = {name: _made(client, name) for client, name in ((first, "one"), (second, "two"))}
            with held_clients(first, made.values()) as held:
                pids = _pids(hosts)
                two.exchange()
                _work_together(hosts, first, second, "old-controller")
                one.end()  # the upgraded one is elected
                one.start()
                wait_until("the new version is the controller", 60, lambda: _controller(hosts) == _id(two))
                _work_together(hosts, first, second, "new-controller")
                _refused_for_now(second, made["one"])
                assert {format for format, _ in _clusters(hosts).values()} == {2}
                one.exchange()
                for client in (first, second):
                    for id in made.values():
                        online(client, id)
                assert _pids(hosts).items() >= pids.items()
                assert [line for one_held in held for line in one_held.differences()] == []
            _moved(second, hosts, made["one"])
        _left_alone(hosts, one, made["one"], former)


def _made(client: Client, name: str) -> str:
    created = client.request("POST", "/v2/databases", json=SMALLEST | {"name": name})
    id = str(online(client, created["database"]["id"])["id"])
    added_pool(client, id, "web")
    added_pool(client, id, "kept", mode="session")
    return id


def _work_together(hosts: Fleet, first: Client, second: Client, prefix: str) -> None:
    """Make clusters by either API, on both hosts, change them by the other one, and delete them."""
    on: dict[str, set[str]] = {"first": set(), "second": set()}
    made: list[tuple[str, Client]] = []
    # Hosts take turns, so each API places one cluster on either.
    for number, by in enumerate(("first", "second", "second", "first")):
        maker, other = (first, second) if by == "first" else (second, first)
        id = _made(maker, f"{prefix}-{number}")
        made.append((id, other))
        online(other, id)
        on[by].add(_host_of(hosts, id).name)
        pool = added_pool(other, id, "others")
        assert answer_of(pool["connection"]["uri"]) == 42
        other.request("POST", f"/v2/databases/{id}/users", json={"name": "app"})
        other.request("PUT", f"/v2/databases/{id}/pools/others", json=_pool(pool) | {"size": 3})
        assert online(maker, id)["cenote"]["health"] == "healthy"
        names = {found["name"] for found in maker.request("GET", f"/v2/databases/{id}/pools")["pools"]}
        assert names == {"web", "kept", "others"}
    assert all(len(found) == 2 for found in on.values()), on
    for id, other in made:
        other.request("DELETE", f"/v2/databases/{id}")
    ids = {id for id, _ in made}
    for client in (first, second):
        wait_until("they are gone", 60, lambda: not ids & _ids(client))  # noqa: B023
    wait_until("nothing is left of them", 60, lambda: not ids & _folders(hosts))


def _folders(hosts: Fleet) -> set[str]:
    return {path.name for host in hosts.hosts for path in Layout(host.data_dir).clusters.iterdir()}


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    return {key: pool[key] for key in ("mode", "db", "user")}


def _ids(client: Client) -> set[str]:
    return {
        one["id"] for one in client.request("GET", "/v2/databases", params={"per_page": 200})["databases"]
    }


def _refused_for_now(client: Client, id: str) -> None:
    """What needs a record that the former version would spoil is refused, with its name."""
    hosts = client.request("GET", "/v2/cenote/hosts")["hosts"]
    behind = next(host for host in hosts if host["name"] == "host-1")
    assert "earlier Cenote" in behind["reason"]
    for method, path in (
        ("POST", f"/v2/databases/{id}/move"),
        ("POST", f"/v2/cenote/hosts/{behind['id']}/drain"),
    ):
        with pytest.raises(CenoteError, match=r"host-1 runs an earlier Cenote .* Upgrade it first"):
            client.request(method, path, json={} if "move" in path else None)


def _moved(client: Client, hosts: Fleet, id: str) -> None:
    before = _host_of(hosts, id)
    client.request("POST", f"/v2/databases/{id}/move", json={})
    wait_until("it has moved", 120, lambda: _clusters(hosts)[id] == (3, 1))
    online(client, id)
    assert _host_of(hosts, id) is not before


def _left_alone(hosts: Fleet, host: FleetHost, id: str, former: tuple[str, ...]) -> None:
    """An earlier version that comes back neither changes such a record nor touches its servers."""
    servers = _pids(hosts)
    record = _record(hosts, id)
    host.exchange(former)
    with host.client() as client, pytest.raises(CenoteError, match="written by a newer version"):
        client.request("POST", f"/v2/databases/{id}/users", json={"name": "late"})
    assert _record(hosts, id) == record
    assert _pids(hosts) == servers
    host.exchange()
    with host.client() as client:
        client.request("POST", f"/v2/databases/{id}/users", json={"name": "late"})


def _host_of(hosts: Fleet, id: str) -> FleetHost:
    """The host that has the folder of a cluster."""
    return next(host for host in hosts.hosts if Layout(host.data_dir).cluster(UUID(id)).root.exists())


def _pids(hosts: Fleet) -> dict[str, int]:
    """The servers of all hosts, by host and folder, without those of clusters that are only for a moment."""
    return {
        f"{host.name}/{name}": pid for host in hosts.hosts for name, pid in host.servers_of_clusters().items()
    }


def _id(host: FleetHost) -> str:
    return str(msgspec.json.decode((host.data_dir / "host.json").read_bytes())["id"])


def _read(hosts: Fleet, prefix: str) -> dict[str, bytes]:
    outside = hosts.outside
    assert outside is not None

    async def read() -> dict[str, bytes]:
        client = outside.client()
        try:
            return {
                found.key.decode().removeprefix(prefix): found.value
                async for page in client.pages(prefix, 1000)
                for found in page.found
            }
        finally:
            await client.close()

    return asyncio.run(read())


def _clusters(hosts: Fleet) -> dict[str, tuple[int, int]]:
    """The format of each cluster's record, and how many nodes are in it, those that were left included."""
    records = {id: msgspec.json.decode(value) for id, value in _read(hosts, "/cenote/v2/clusters/").items()}
    return {
        id: (record["format"], len(record["nodes"]) + len(record.get("left", ())))
        for id, record in records.items()
    }


def _record(hosts: Fleet, id: str) -> bytes:
    return _read(hosts, "/cenote/v2/clusters/")[id]


def _controller(hosts: Fleet) -> str:
    value = _read(hosts, "/cenote/v2/leases/controller").get("", b"{}")
    return str(msgspec.json.decode(value).get("host", ""))
