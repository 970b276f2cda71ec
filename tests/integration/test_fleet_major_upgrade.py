"""The upgrade of a cluster with two nodes on two hosts, and the loss of a host in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cenote_client import Client
from tests.integration.test_fleet_moves import get, told
from tests.integration.test_fleet_nodes import by, healthy, nodes, primary, told_of
from tests.support import pgbench, two_versions
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.replicas import following
from tests.support.service import added_pool, answer_of, online_cluster, tried
from tests.support.upgrading import CHECKSUM, GOODS, version_of
from tests.support.waiting import wait_until

SECONDS = 240
PAIR = two_versions.pair


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    _, _, folders = PAIR()
    with fleet(3, *folders, joined=True) as found:
        yield found


def made(client: Client, name: str, host: FleetHost) -> Any:
    """Return a cluster of the older version with rows, two nodes, and its primary on a host."""
    older, _, _ = PAIR()
    wanted = {"host": host.name, "distinct_hosts": True}
    cluster: Any = online_cluster(client, name, num_nodes=2, version=older, cenote=wanted)
    id = cluster["id"]
    added_pool(client, id, "web")
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for statement in GOODS:
            connection.execute(statement.encode())
    healthy(client, id)
    assert nodes(client, id)[primary(client, id)]["host"] == host.name
    return cluster


def ends(client: Client, id: str) -> list[str]:
    found: Any = client.databases.list_events_logs(id)
    summaries = [event["cenote"]["summary"] for event in found["events"]]
    return [text for text in summaries if text.startswith(("was upgraded from", "was not upgraded to"))]


def test_nodes_and_replicas_of_several_hosts_have_the_new_version_and_pools_of_each_host_wait(
    hosts: Fleet,
) -> None:
    older, newer, _ = PAIR()
    [first, second, third] = hosts.hosts
    with told(hosts), first.client() as client:
        cluster = made(client, "spread", second)
        id, uri = cluster["id"], cluster["connection"]["uri"]
        pool: Any = client.databases.get_connection_pool(id, "web")["pool"]["connection"]["uri"]
        [other] = {one["host"] for one in nodes(client, id).values()} - {second.name}
        away = first if other == first.name else third
        replica: Any = client.request("POST", f"/v2/databases/{id}/replicas", json={"name": "reader"})
        following(client, cluster, "reader")
        before = answer_of(uri, CHECKSUM)
        pgbench.initialize(uri)
        healthy(client, id)
        with pgbench.bench(by(client, id, pool, away), clients=2, rate=20) as bench:
            client.databases.update_major_version(id, {"version": newer})
            wait_until("it is upgraded", SECONDS, lambda: ends(client, id))
            healthy(client, id)
        print(f"{bench.done} transactions, the longest took {bench.held:.1f} s", ends(client, id))
        assert not bench.failed
        assert f"from PostgreSQL {older} to {newer}" in ends(client, id)[0]
        assert version_of(uri) == newer
        for host in (second, away):
            assert answer_of(by(client, id, pool, host), CHECKSUM) == before
        own = replica["replica"]["connection"]["uri"]
        wait_until("the replica is made anew", SECONDS, lambda: tried(own, CHECKSUM) == before)
        following(client, cluster, "reader")
        assert version_of(own) == newer
        client.databases.destroy_replica(id, "reader")
        client.databases.destroy_cluster(id)


def test_a_host_that_is_lost_in_the_middle_is_named_and_without_it_another_takes_over(hosts: Fleet) -> None:
    """It is not the host that keeps the store.  What was committed before the upgrade is on another node."""
    older, newer, _ = PAIR()
    [first, second, _] = hosts.hosts
    with told(hosts), first.client() as client:
        cluster = made(client, "halved", second)
        id = cluster["id"]
        lost, before = primary(client, id), answer_of(cluster["connection"]["uri"], CHECKSUM)
        client.databases.update_major_version(id, {"version": newer})

        def rests() -> bool:
            return any("stopped while" in one["reason"] for one in nodes(client, id).values())

        wait_until("the other node is stopped", SECONDS, rests)
        second.lose()

        def is_told() -> Any:
            now = get(client, id)["cenote"]
            return now if now["health"] == "down" and second.name in now["reason"] else None

        now = wait_until("the lost host is named", 90, is_told)
        assert now["upgrading_from"] == older
        assert nodes(client, id)[lost]["health"] == "down"
        assert not ends(client, id)

        client.cenote.remove_host(told_of(client, second)["id"], lost=True)
        [end] = wait_until("the upgrade is given up", SECONDS, lambda: ends(client, id))
        assert end.startswith(f"was not upgraded to PostgreSQL {newer}: the host of {lost} was removed")
        assert get(client, id)["version"] == older

        def writes() -> Any:
            uri = get(client, id)["connection"]["uri"]
            return tried(uri, "INSERT INTO goods VALUES (0, 'new') ON CONFLICT (id) DO NOTHING RETURNING id")

        wait_until("another node takes writes", SECONDS, lambda: writes() == 0)
        assert primary(client, id) not in ("", lost)
        uri = get(client, id)["connection"]["uri"]
        assert answer_of(uri, CHECKSUM + " WHERE id > 0") == before
        assert version_of(uri) == older
        pool: Any = client.databases.get_connection_pool(id, "web")["pool"]["connection"]["uri"]
        wait_until("pools lead there", SECONDS, lambda: tried(pool, "SELECT max(id) FROM goods") == 5000)
