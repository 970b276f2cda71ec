"""Clusters of two nodes on two hosts, through the API: made, switched, and with the loss of a host."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from cenote_client import Client, NetworkError
from tests.integration.test_fleet_moves import bench, get, is_empty, pool_uri, rows, told
from tests.support import pgbench
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.service import added_pool, answer_of, online_cluster
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(3, joined=True) as found:
        yield found


def nodes(client: Client, id: str) -> dict[str, Any]:
    return {one["name"]: one for one in get(client, id)["cenote"]["nodes"]}


def primary(client: Client, id: str) -> str:
    return next((name for name, one in nodes(client, id).items() if one["role"] == "primary"), "")


def by(client: Client, id: str, uri: str, host: FleetHost) -> str:
    """Return the URI of a pool that leads to the pooler of a host; in tests each has ports of its own."""
    places = get(client, id)["cenote"]["uris"]["hosts"]
    port = next(place["pool_port"] for place in places if place["host"] == host.address)
    parts = urlsplit(uri)
    login, _, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}@{host.address}:{port}").geturl()


def healthy(client: Client, id: str) -> None:
    wait_until("the cluster is healthy", 60, lambda: get(client, id)["cenote"]["health"] == "healthy")


def sizes_of(client: Client, id: str) -> list[float]:
    [history] = client.databases.get_pool_history(id)["history"]["pools"]
    return history["size"]


def not_counted(client: Client, id: str, host: FleetHost) -> bool:
    """Return whether the sums are over one pooler, and say that this host's is not in them."""
    found = client.databases.list_pool_stats(id)
    named = any(host.name in words for words in found.get("not_counted", ()))
    return named and [one["poolers"] for one in found["stats"]] == [1]


def test_two_nodes_stand_on_two_hosts_and_either_takes_writes(hosts: Fleet) -> None:
    [first, second, _] = hosts.hosts
    with told(hosts), first.client() as client:
        made = online_cluster(client, "two-nodes", num_nodes=2)
        id = made["id"]
        assert made["num_nodes"] == 2
        assert {one["host"] for one in made["cenote"]["nodes"]} == {first.name, second.name}
        assert made["standby_connection"]["host"] != made["connection"]["host"]
        assert len(made["metrics_endpoints"]) == 2
        healthy(client, id)
        pool = added_pool(client, id, "web")
        assert pool["standby_connection"]["database"] == "web.standby"
        pgbench.initialize(get(client, id)["connection"]["uri"])
        assert answer_of(pool["standby_connection"]["uri"], "SELECT pg_is_in_recovery()") is True
        assert answer_of(made["standby_connection"]["uri"], "SELECT pg_is_in_recovery()") is True
        uri = pool["connection"]["uri"]
        for host in (first, second):  # each host's pooler leads to the primary
            assert answer_of(by(client, id, uri, host), "SELECT pg_is_in_recovery()") is False
        for host in (first, second):
            before = primary(client, id)
            with bench(by(client, id, uri, host)):
                first.cenote("cluster", "switchover", "two-nodes")
                time.sleep(1)
            assert primary(client, id) != before
            healthy(client, id)
        events = client.databases.list_events_logs(id)["events"]
        kinds = [one["event_type"] for one in events]
        assert kinds.count("cluster_master_promotion") == 2
        assert "ROLE" in first.cenote("cluster", "nodes", "two-nodes")
        client.databases.destroy_cluster(id)


def told_of(client: Client, host: FleetHost) -> Any:
    return next(one for one in client.cenote.list_hosts()["hosts"] if one["name"] == host.name)


def test_a_drained_host_gives_its_node_to_another_and_no_transaction_fails(hosts: Fleet) -> None:
    [first, second, third] = hosts.hosts
    with told(hosts), first.client() as client:
        wanted = {"host": second.name, "distinct_hosts": True}
        id = online_cluster(client, "leaves-host", num_nodes=2, cenote=wanted)["id"]
        added_pool(client, id, "web")
        pgbench.initialize(get(client, id)["connection"]["uri"])
        healthy(client, id)
        assert nodes(client, id)[primary(client, id)]["host"] == second.name
        [kept] = {one["host"] for one in nodes(client, id).values()} - {second.name}
        stays, spare = (first, third) if kept == first.name else (third, first)
        with bench(by(client, id, pool_uri(first, id), stays)) as seen:
            for host in (spare, second):
                client.cenote.drain_host(told_of(client, host)["id"])
            reason = told_of(client, second)["reason"]
            assert "leaves-host cannot be moved: 2 nodes on different hosts need 2 hosts" in reason
            time.sleep(2)
            assert nodes(client, id)[primary(client, id)]["host"] == second.name, "nothing begins"
            client.cenote.undrain_host(told_of(client, spare)["id"])
            wait_until("one is copied", 90, lambda: len(nodes(client, id)) == 3)
            assert get(client, id)["num_nodes"] == 2
            for host in hosts.hosts:  # one of them is the controller
                api = host.child("api")
                assert api is not None
                os.kill(api, signal.SIGKILL)
            wait_until("nothing is left", 120, lambda: answers_empty(client, second))
            time.sleep(1)
        healthy(client, id)
        assert {one["host"] for one in nodes(client, id).values()} == {stays.name, spare.name}
        assert nodes(client, id)[primary(client, id)]["host"] == stays.name
        assert rows(by(client, id, pool_uri(first, id), stays)) == seen.done
        assert told_of(client, second)["reason"] == "drained, 1 of 1 moved"
        events = [one.get("cenote", one) for one in client.databases.list_events_logs(id)["events"]]
        assert "its host is drained" in str(events)
        client.cenote.undrain_host(told_of(client, second)["id"])
        client.databases.destroy_cluster(id)


def answers_empty(client: Client, host: FleetHost) -> bool:
    try:
        return is_empty(host, client)
    except NetworkError:  # of an API that was killed
        return False


def test_clients_of_a_pool_go_on_when_the_host_of_the_primary_is_lost(hosts: Fleet) -> None:
    [first, second, third] = hosts.hosts
    with told(hosts), first.client() as client:
        id = online_cluster(client, "loses-host", num_nodes=2, cenote={"host": second.name})["id"]
        added_pool(client, id, "web")
        healthy(client, id)
        assert nodes(client, id)[primary(client, id)]["host"] == second.name
        kept = {one["host"] for one in nodes(client, id).values()} - {second.name}
        other = first if kept == {first.name} else third
        uri = by(client, id, pool_uri(first, id), other)
        for host in (second, other):
            assert answer_of(by(client, id, uri, host)) == 42
        stats = client.databases.get_pool_stats(id, "web")
        assert (stats["stats"]["poolers"], stats.get("not_counted")) == (2, None)
        assert stats["stats"]["since_start"]["queries"] >= 2, "one on each host"
        wait_until(
            "samples of both hosts are added up",
            60,
            lambda: 2 * stats["stats"]["size"] in sizes_of(client, id),
        )
        second.lose()

        def writes() -> bool:
            try:
                with psycopg.connect(uri, connect_timeout=30, autocommit=True) as connection:
                    connection.execute("CREATE TABLE after (n int)")
                return True
            except psycopg.Error:
                return False

        wait_until("the pool of the other host takes writes", 60, writes)
        wait_until("it says so", 30, lambda: nodes(client, id)[primary(client, id)]["host"] == other.name)
        assert get(client, id)["cenote"]["health"] in ("degraded", "unknown")
        wait_until("its pooler is named as not counted", 30, lambda: not_counted(client, id, second))
        advice = client.databases.list_pool_advice(id)
        assert any(second.name in words for words in advice.get("not_counted", ()))
        assert f"Not counted: {second.name}" in other.run("pool", "stats", "loses-host").stderr
        logs = other.run("cluster", "logs", "loses-host")
        assert logs.returncode == 0
        assert "cannot be read" in logs.stderr
        second.start()
        healthy(client, id)
