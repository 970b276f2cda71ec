"""Read replicas on another host than their source, which may move, and whose host may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cenote_client import Client
from tests.integration.test_fleet_moves import moved, told
from tests.support.fleet import Fleet, fleet
from tests.support.replicas import SECONDS, added, following, has_row, promoted, write
from tests.support.service import online, online_cluster
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(2) as found:
        yield found


def trusting(client: Client, id: str, *addresses: str) -> None:
    rules = [{"type": "ip_addr", "value": address} for address in addresses]
    client.request("PUT", f"/v2/databases/{id}/firewall", json={"rules": rules})


def test_a_replica_is_on_another_host_and_follows_its_source_to_a_further_one_and_outlives_it(
    hosts: Fleet,
) -> None:
    [first, second] = hosts.hosts
    with told(hosts), second.client() as client:
        source: Any = online_cluster(client, "origin", cenote={"host": first.name})
        id = source["id"]
        trusting(client, id, "127.0.0.0/8")
        replica = added(client, source, "copy")
        assert replica["cenote"]["host"] == second.name
        reader = replica["connection"]["uri"]
        write(source["connection"]["uri"], 1)
        wait_until("the row is there", SECONDS, lambda: has_row(reader, 1))

        client.databases.move_cluster(id, {"host": second.name})
        moved(client, id, second.name)
        source = online(client, id)
        write(source["connection"]["uri"], 2)
        wait_until("it follows its source there", SECONDS, lambda: has_row(reader, 2))
        following(client, source, "copy")

        client.databases.move_cluster(id, {"host": first.name})
        moved(client, id, first.name)
        source = online(client, id)
        write(source["connection"]["uri"], 3)
        wait_until("and back", SECONDS, lambda: has_row(reader, 3))
        drained = next(one["id"] for one in client.cenote.list_hosts()["hosts"] if one["name"] == second.name)
        client.cenote.drain_host(drained)

        def is_told() -> bool:
            found = next(one for one in client.cenote.list_hosts()["hosts"] if one["id"] == drained)
            return "copy is a read replica: it is not moved to another host" in found["reason"]

        wait_until("a drain says what is to be done", SECONDS, is_told)
        client.cenote.undrain_host(drained)

        first.lose()
        client.request("PUT", f"/v2/databases/{id}/replicas/copy/promote")
        own = promoted(client, replica["id"])
        write(own["connection"]["uri"], 4)
        assert has_row(own["connection"]["uri"], 3)
