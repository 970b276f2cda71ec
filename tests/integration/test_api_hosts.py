"""Hosts by the API: their states, draining, and removing them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.api import keys
from cenote.api.service import Settings
from cenote.errors import Conflict, Misconfigured, Unavailable
from cenote.model.fleet_records import AdmittedHost, FleetAuthority, HostRole, RemovedHost
from cenote.model.record import Secret
from cenote.rules import host_states
from cenote.rules.record_formats import WITH_MOVES
from cenote.store import Store, etcd_messages, fleet, members
from cenote.store.encoding import encode
from cenote.store.etcd_messages import Member
from cenote.store.etcd_options import name_of
from tests.support.api import BACKEND, HOST, Api, Apis, running_apis
from tests.support.waiting import wait_until_async

HOSTS = "/v2/cenote/hosts"
A, B, C = (
    replace(HOST, id=id, name=f"db-{id}", zone=zone, memory_mib=4096, disk_mib=100_000)
    for id, zone in (("a", "east"), ("b", "west"), ("c", "west"))
)
ALL = (A, B, C)
FROM_A = Settings(wait_seconds=0, host_id="a")


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    yield from running_apis()


async def hosts(api: Api) -> dict[str, Any]:
    return {host["name"]: host for host in (await api.call("GET", HOSTS, 200))["hosts"]}


def placed(api: Api, path: str) -> str:
    stored = api.store.cluster(UUID(path.rpartition("/")[2]))
    assert stored is not None
    return stored.value.nodes[0].host


async def lose(api: Api, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the agent of a host, and wait until the API takes the host for down."""
    monkeypatch.setattr(host_states, "DOWN_SECONDS", 0.3)
    await api.hosts[id].close()

    async def is_down() -> bool:
        return bool((await hosts(api))[f"db-{id}"]["state"] == "down")

    await wait_until_async("the host is down", 10, is_down)


def test_clusters_spread_over_the_hosts_and_ports_are_their_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        paths = [await api.add_cluster(name=f"c{number}00") for number in range(6)]
        assert sorted(placed(api, path) for path in paths) == ["a", "a", "b", "b", "c", "c"]
        ports = [(await api.call("GET", path, 200))["database"]["connection"]["port"] for path in paths]
        assert len(set(ports)) == 6
        assert [host["clusters"] for host in (await hosts(api)).values()] == [2, 2, 2]

    apis.run(scenario, FROM_A, ALL)


def test_a_cluster_is_created_on_the_host_or_in_the_zone_that_is_wished(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for wish, at in (({"host": "db-b"}, "b"), ({"host": "c"}, "c"), ({"zone": "east"}, "a")):
            assert placed(api, await api.add_cluster(name=f"on-{at}", cenote=wish)) == at
        for wish, words in (
            ({"host": "db-9"}, "cenote.host: no host that runs clusters is named 'db-9'."),
            ({"zone": "north"}, "cenote.zone: no host is in the zone 'north'; there is east, west."),
        ):
            body = {**BACKEND, "name": "not-made", "cenote": wish}
            assert await api.refusal("POST", "/v2/databases", 422, json=body) == words
        await api.refusal("POST", "/v2/databases", 422, json={**BACKEND, "cenote": {"rack": "1"}})

    apis.run(scenario, FROM_A, ALL)


def test_with_a_factor_hosts_are_not_promised_more_than_that(apis: Apis) -> None:
    settings = Settings(wait_seconds=0, host_id="a", memory_overcommit=1.0)

    async def scenario(api: Api) -> None:
        for number in range(3):
            await api.add_cluster(name=f"c{number}00", size="db-s-2vcpu-4gb")
        message = await api.refusal("POST", "/v2/databases", 412, json=BACKEND)
        assert message.startswith(
            "No host has room for 1 GiB of memory and 10 GiB of storage. db-a has no memory left; db-b"
        )
        offered = (await api.call("GET", "/v2/databases/options", 200))["cenote"]
        assert {size["slug"]: size["fits_on"] for size in offered["sizes"]}["db-s-1vcpu-1gb"] == []
        assert [place["reason"] for place in offered["places"]] == ["has no memory left"] * 3

    apis.run(scenario, settings, ALL)


def test_with_a_factor_a_cluster_does_not_outgrow_its_host(apis: Apis) -> None:
    settings = Settings(wait_seconds=0, host_id="a", memory_overcommit=1.0)

    async def scenario(api: Api) -> None:
        path = await api.add_cluster(name="grows", size="db-s-1vcpu-2gb", cenote={"host": "db-a"})
        await api.report(path)
        large = {"size": "db-s-4vcpu-8gb", "num_nodes": 1}
        message = await api.refusal("PUT", f"{path}/resize", 412, json=large)
        assert message == (
            "The host db-a of the cluster has 2 GiB of memory left, too little for db-s-4vcpu-8gb with 140 "
            "GiB of storage. Move the cluster to another host first."
        )
        await api.call("PUT", f"{path}/resize", 202, json={"size": "db-s-2vcpu-4gb", "num_nodes": 1})

    apis.run(scenario, settings, ALL)


def test_the_options_say_what_fits_where(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(name="large", size="db-s-2vcpu-4gb", cenote={"host": "db-a"})
        await api.call("POST", f"{HOSTS}/b/drain", 200)
        offered = (await api.call("GET", "/v2/databases/options", 200))["cenote"]
        fits = {size["slug"]: size["fits_on"] for size in offered["sizes"]}
        assert (fits["db-s-1vcpu-1gb"], fits["db-s-4vcpu-8gb"]) == (["db-c"], [])
        told = [(place["name"], place["zone"], place["reason"]) for place in offered["places"]]
        assert told == [("db-a", "east", ""), ("db-b", "west", "is being drained"), ("db-c", "west", "")]
        assert offered["places"][0]["text"].startswith("0 GiB of 4 GiB of memory left, ")
        reader = await api.http.get("/v2/databases/options", headers=await api.token("database:read"))
        assert "places" not in reader.json()["cenote"]
        assert "fits_on" not in reader.json()["cenote"]["sizes"][0]

    apis.run(scenario, FROM_A, ALL)


def test_a_host_without_the_role_gets_no_clusters(apis: Apis) -> None:
    voter = replace(B, roles=(HostRole.STORE,))

    async def scenario(api: Api) -> None:
        paths = [await api.add_cluster(name=f"c{number}00") for number in range(2)]
        assert [placed(api, path) for path in paths] == ["a", "a"]
        assert (await hosts(api))["db-b"]["roles"] == ["store"]

    apis.run(scenario, FROM_A, (A, voter))


def test_a_drained_host_takes_no_clusters_and_its_progress_is_shown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(name="first", cenote={"host": "db-b"})
        drained = (await api.call("POST", f"{HOSTS}/b/drain", 200))["host"]
        assert drained["state"] == "up"
        assert drained["reason"].startswith("draining, 0 of 1 moved; first cannot be moved: ")
        assert drained["drain"] | {"asked_at": ""} == {"asked_at": "", "nodes": 1, "moved": 0}
        assert (await api.call("POST", f"{HOSTS}/b/drain", 200))["host"] == drained

        paths = [await api.add_cluster(name=f"c{number}00") for number in range(4)]
        assert {placed(api, one) for one in paths} == {"a", "c"}
        body = {**BACKEND, "name": "not-made", "cenote": {"host": "db-b"}}
        message = await api.refusal("POST", "/v2/databases", 412, json=body)
        assert message == "No host takes new clusters now. db-b is being drained."

        await api.call("DELETE", path, 204)
        undrained = (await api.call("DELETE", f"{HOSTS}/b/drain", 200))["host"]
        assert ("drain" in undrained, undrained["reason"]) == (False, "")
        told = (await api.call("GET", "/v2/cenote/audit?search=db-b", 200))["entries"]
        summaries = [entry["summary"] for entry in told if entry["summary"].startswith("host")]
        assert summaries == ["host db-b: from draining to in use", "host db-b: from in use to draining"]
        await api.refusal("POST", f"{HOSTS}/nobody/drain", 404)

    apis.run(scenario, FROM_A, ALL)


def test_a_host_with_clusters_is_not_removed_and_an_empty_one_cannot_come_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(name="first", cenote={"host": "db-b"})
        message = await api.refusal("DELETE", f"{HOSTS}/b", 412)
        assert message == (
            "db-b still has the cluster first. Drain the host first, and remove it when nothing is left."
        )
        await api.call("DELETE", path, 204)
        assert (await api.refusal("DELETE", f"{HOSTS}/b", 412)).startswith(
            "db-b still has 1 cluster being deleted."
        )
        await api.store.forget_cluster(UUID(path.rpartition("/")[2]))

        await api.call("DELETE", f"{HOSTS}/b", 204)
        assert list(await hosts(api)) == ["db-a", "db-c"]
        await api.refusal("DELETE", f"{HOSTS}/b", 404)
        with pytest.raises(
            Misconfigured, match=r"the host db-b \(id b\) was removed .* its servers are left"
        ):
            await api.hosts["b"].announce(B)
        assert list(await hosts(api)) == ["db-a", "db-c"]
        told = (await api.call("GET", "/v2/cenote/audit?search=db-b", 200))["entries"]
        assert any(entry["summary"] == "host db-b: removed (localhost)" for entry in told)

    apis.run(scenario, FROM_A, ALL)


def test_the_host_whose_etcd_alone_votes_is_not_removed(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Member(1, name_of("b"), [], []), Member(2, name_of("c"), [], [], True)]

    async def listed(_: object) -> list[Member]:
        return found

    monkeypatch.setattr(members, "listed", listed)

    async def scenario(api: Api) -> None:
        message = await api.refusal("DELETE", f"{HOSTS}/b", 412)
        assert message.startswith("The etcd of db-b is the only one that votes: ")
        await lose(api, "b", monkeypatch)
        assert await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 412) == message
        await api.call("DELETE", f"{HOSTS}/c", 204)
        found.append(Member(3, name_of("a"), [], []))  # both are needed until one of them votes no more
        message = await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 412)
        assert message.startswith(
            "The members of the store are being changed, and the etcd of db-b is needed"
        )
        found[:] = [Member(3, name_of("a"), [], [])]
        await api.call("DELETE", f"{HOSTS}/b?lost=true", 204)

    apis.run(scenario, FROM_A, ALL)


def test_a_host_that_joined_and_never_started_is_seen_and_removed(apis: Apis) -> None:
    admitted = AdmittedHost(
        name="db-d",
        address="192.0.2.4",
        roles=(HostRole.STORE,),
        at=datetime.now(UTC),
        zone="east",
        port=8444,
    )

    async def scenario(api: Api) -> None:
        for id in ("d", "e"):
            await fleet.admit(api.store.client, api.store.keys, id, replace(admitted, name=f"db-{id}"))
        await api.store.joining.refresh()
        shown = (await hosts(api))["db-d"]
        assert (shown["state"], shown["reason"], shown["roles"]) == ("down", "has not started yet", ["store"])
        assert (shown["address"], shown["zone"], shown["clusters"]) == ("192.0.2.4", "east", 0)
        words = "db-d has not started yet; start Cenote there, or remove the host."
        assert await api.refusal("POST", f"{HOSTS}/d/drain", 412) == words
        await api.call("DELETE", f"{HOSTS}/d", 204)
        await api.call("DELETE", f"{HOSTS}/e?lost=true", 204)
        assert list(await hosts(api)) == ["db-a", "db-b", "db-c"]
        assert api.store.removed_host("d") is not None
        await api.refusal("DELETE", f"{HOSTS}/d", 404)
        told = (await api.call("GET", "/v2/cenote/audit?search=db-d", 200))["entries"]
        assert told[0]["summary"] == "host db-d: removed (192.0.2.4, not started yet)"

    apis.run(scenario, FROM_A, ALL)


def test_the_api_of_a_host_that_was_removed_refuses_everything(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        removed = RemovedHost(name="db-a", at=datetime.now(UTC))
        put = etcd_messages.put(api.store.keys.removed_host("a"), encode(removed))
        await api.store.client.transact(etcd_messages.TransactionRequest([], [put], []))
        await api.store.joining.refresh()
        for path in ("/v2/databases", HOSTS, "/healthz"):
            assert "was removed from the service" in await api.refusal("GET", path, 503)

    apis.run(scenario, FROM_A, ALL)


def test_keys_are_not_rotated_while_a_host_has_joined_and_not_started(apis: Apis) -> None:
    joining = AdmittedHost(
        name="db-d", address="192.0.2.4", roles=(HostRole.API,), at=datetime.now(UTC), port=8444
    )

    async def scenario(api: Api) -> None:
        authority = FleetAuthority(certificate="x", sealed_key=api.sealer.seal(Secret("x")))
        put = etcd_messages.put(api.store.keys.fleet_authority, encode(authority))
        await api.store.client.transact(etcd_messages.TransactionRequest([], [put], []))
        holders = keys._Hosts(_Called(api.store, FROM_A), keys.Ring.API)  # type: ignore[arg-type]
        await fleet.admit(api.store.client, api.store.keys, "d", joining)
        for holders_do in (holders.seal, holders.keep):
            with pytest.raises(Unavailable, match="db-d joined meanwhile"):
                await holders_do(api.sealer.keys[-1])
        message = await api.refusal("POST", "/v2/cenote/keys/rotate", 412)
        assert "while these hosts are out of reach: db-d" in message

    apis.run(scenario, FROM_A, ALL)


class _Called(NamedTuple):
    """As much of the API's service as holders of keys need."""

    store: Store
    settings: Settings


def test_no_node_is_placed_on_a_host_that_another_api_has_removed(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(name="first", cenote={"host": "db-b"})
        stored = api.store.cluster(UUID(path.rpartition("/")[2]))
        assert stored is not None
        await api.store.forget_cluster(stored.value.id)
        await api.call("DELETE", f"{HOSTS}/b", 204)
        with pytest.raises(Conflict):
            await api.store.add_cluster(stored.value)

    apis.run(scenario, FROM_A, ALL)


def test_a_host_that_answers_or_was_there_just_now_is_not_removed_as_lost(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        message = await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 412)
        assert message == "db-b is up, so it is not lost; drain it first, and remove it then."
        await api.hosts["b"].close()

        async def is_away() -> bool:
            return bool((await hosts(api))["db-b"]["state"] == "away")

        await wait_until_async("the host is away", 10, is_away)
        shown = (await hosts(api))["db-b"]
        assert shown["reason"].startswith("host db-b does not answer since ")
        assert "less than 20 seconds" in await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 412)
        assert "answers this request itself" in await api.refusal("DELETE", f"{HOSTS}/a", 412)
        await api.refusal("DELETE", f"{HOSTS}/b?lost=perhaps", 422)

    apis.run(scenario, FROM_A, ALL)


def test_a_lost_host_is_down_in_words_and_removed_with_what_was_on_it(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(api: Api) -> None:
        lost = await api.add_cluster(name="lost", cenote={"host": "db-b"})
        going = await api.add_cluster(name="going", cenote={"host": "db-b"})
        other = await api.add_cluster(name="other", cenote={"host": "db-c"})
        for path in (lost, going, other):
            await api.report(path)
        await api.call("DELETE", going, 204)
        await lose(api, "b", monkeypatch)

        seen = (await api.call("GET", lost, 200))["database"]["cenote"]
        assert seen["health"] == "down"
        assert seen["reason"].startswith("host db-b does not answer since ")
        assert (await api.call("GET", other, 200))["database"]["cenote"]["health"] == "healthy"
        assert await api.refusal("DELETE", f"{HOSTS}/b", 412)  # something is there

        await api.call("DELETE", f"{HOSTS}/b?lost=true", 204)
        assert list(await hosts(api)) == ["db-a", "db-c"]
        seen = (await api.call("GET", lost, 200))["database"]["cenote"]
        assert (seen["health"], seen["reason"]) == ("down", "its host was removed")
        assert api.store.ports("b") == set()
        for path, is_deleted in ((lost, False), (going, True)):
            stored = api.store.cluster(UUID(path.rpartition("/")[2]))
            assert stored is not None
            assert stored.value.nodes[0].lost_at is not None
            assert (stored.value.deleted_at is not None) == is_deleted
            assert api.store.reports(stored.value.id) == {}
        events = (await api.call("GET", f"{lost}/events", 200))["events"]
        assert events[0]["cenote"]["summary"].startswith("node node-1: time of the loss of its host: ")
        told = (await api.call("GET", "/v2/cenote/audit?search=db-b", 200))["entries"]
        assert any(one["summary"] == "host db-b: removed (localhost, lost, nodes: 2)" for one in told)
        assert (await api.call("GET", other, 200))["database"]["cenote"]["health"] == "healthy"
        await api.call("DELETE", lost, 204)

    apis.run(scenario, FROM_A, ALL)


def test_a_removal_that_was_interrupted_goes_on_when_it_is_repeated(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(name="lost", cenote={"host": "db-b"})
        await api.report(path)
        await lose(api, "b", monkeypatch)
        changes = api.store.host_changes

        async def interrupted(*_: object) -> None:
            raise Conflict("the machine stops here")

        with monkeypatch.context() as patched:
            patched.setattr(changes, "_lose", interrupted)
            await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 409)
        shown = (await hosts(api))["db-b"]
        assert shown["reason"].endswith("its removal was interrupted: repeat it")
        await api.call("DELETE", f"{HOSTS}/b?lost=true", 204)
        assert list(await hosts(api)) == ["db-a", "db-c"]

    apis.run(scenario, FROM_A, ALL)


def test_what_the_version_of_a_host_could_not_read_is_refused_with_its_name(
    apis: Apis, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = replace(C, reads=WITH_MOVES - 1, cenote_version="0.1.0")
    words = "db-c runs an earlier Cenote (0.1.0), which knows nothing of moves. Upgrade it first."

    async def scenario(api: Api) -> None:
        on_b = await api.add_cluster(name="on-b", cenote={"host": "db-b"})
        on_c = await api.add_cluster(name="on-c", cenote={"host": "db-c"})
        for path in (on_b, on_c):
            await api.report(path)
        assert "earlier Cenote" in (await hosts(api))["db-c"]["reason"]
        assert await api.refusal("POST", f"{on_b}/move", 412, json={}) == words
        assert await api.refusal("POST", f"{HOSTS}/b/drain", 412) == words
        await lose(api, "b", monkeypatch)
        assert await api.refusal("DELETE", f"{HOSTS}/b?lost=true", 412) == words
        await lose(api, "c", monkeypatch)  # its own version does not count once it is gone
        await api.call("DELETE", f"{HOSTS}/c?lost=true", 204)
        await api.call("DELETE", f"{HOSTS}/b?lost=true", 204)

    apis.run(scenario, FROM_A, (A, B, former))
