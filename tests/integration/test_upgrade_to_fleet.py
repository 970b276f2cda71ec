"""A service of the last version that knew no other hosts becomes the first host of a fleet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from cenote.model.fleet_ports import COUNT
from cenote_client import Client
from tests.support import old_version
from tests.support.fleet import FleetHost, token_of
from tests.support.folders import server_folder
from tests.support.held import Held, add_clusters, committed, held_clients, lost, seen
from tests.support.ports import free_range
from tests.support.service import CENOTE, SMALLEST, WITHOUT_LIMITS, answer_of, online, service, tried
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long

ADDRESS = "127.0.1.1"
CLUSTERS = ("first", "second")


def test_a_service_that_was_upgraded_becomes_the_first_host_of_a_fleet() -> None:
    former = old_version.command(old_version.LANDED)
    with (
        server_folder() as folder,
        service(*WITHOUT_LIMITS, command=former, clusters=len(CLUSTERS) + 4) as one,
        one.client() as client,
        contextlib.ExitStack() as stack,
    ):
        ids = add_clusters(client, CLUSTERS)
        token = one.cenote("token", "create", "reader", "--scope=database:read").strip()
        before, servers = seen(client), one.servers_of_clusters()
        with held_clients(client, ids) as held:
            one.end()
            one.command = (CENOTE,)
            one.start()
            _settled(client, ids)
            assert _differing(before, seen(client), held) == []

            one.end()
            one.add_options(f"--address={ADDRESS}", "--name=host-1", f"--fleet-port={free_range(COUNT)}")
            one.start()
            one.forget_environment()  # the API listens there now, too
            there = stack.enter_context(one.client())
            _settled(there, ids)
            two = FleetHost(
                folder / "two", 2, f"--join={token_of(one)}", fleet_port=free_range(COUNT), clusters=4
            )
            two.data_dir.mkdir(mode=0o711)
            try:
                two.start()
                _joined(there, two, ids, token, before, held)
                assert one.servers_of_clusters() == servers
                assert committed(held) == []
                for one_held in held:
                    one_held.connection.close()  # a host stays in a move as long as it has clients
                _moved_once_it_listens(there, ids[0])
            finally:
                two.clean_up()


def _joined(
    client: Client,
    two: FleetHost,
    ids: list[str],
    token: str,
    before: Any,
    held: list[Held],
) -> None:
    """All that was there is seen by the other host, too, and new clusters are made on both by either."""
    with two.client() as other, two.client(token) as reader:
        assert {found["id"] for found in reader.request("GET", "/v2/databases")["databases"]} == {*ids}
        _settled(other, ids)
        assert _differing(before, seen(other), held) == []
        for maker, host in ((other, "host-1"), (client, "host-2")):
            wish = SMALLEST | {"name": f"new-on-{host}", "cenote": {"host": host}}
            made = online(maker, maker.request("POST", "/v2/databases", json=wish)["database"]["id"])
            assert made["cenote"]["host"] == host
            assert answer_of(made["connection"]["uri"]) == 42
            maker.request("DELETE", f"/v2/databases/{made['id']}")
    assert [line for one_held in held for line in one_held.differences()] == []


def _moved_once_it_listens(client: Client, id: str) -> None:
    """The listen address waits for the window, or for this; then the cluster can be moved as any other."""
    path = f"/v2/databases/{id}"
    uri = client.request("GET", path)["database"]["connection"]["uri"]
    assert ADDRESS in uri
    assert tried(uri) is None
    client.request("PUT", f"{path}/install_update")
    wait_until("it listens at the host's address", 60, lambda: tried(uri) == 42)
    online(client, id)
    client.request("POST", f"{path}/move", json={})
    wait_until("it has moved", 120, lambda: _place(client, id) == ("host-2", False))
    uri = online(client, id)["connection"]["uri"]
    assert answer_of(uri, "SELECT count(*) FROM rows") == 2


def _place(client: Client, id: str) -> tuple[str, bool]:
    shown = client.request("GET", f"/v2/databases/{id}")["database"]["cenote"]
    return shown["host"], "move" in shown


def _settled(client: Client, ids: Iterable[str]) -> None:
    for id in ids:
        online(client, id)


def _differing(before: Any, after: Any, held: list[Held]) -> list[str]:
    """Return what was lost, but for the host's address, and for the restart that waits for the window."""
    text = json.dumps(after).replace(ADDRESS, "localhost")
    found = [line for line in lost(before, json.loads(text)) if "/maintenance_window/" not in line]
    return [*found, *(line for one in held for line in one.differences())]
