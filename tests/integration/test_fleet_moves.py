"""Moves through the API, with agents and a controller, while clients work."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest

from cenote_client import Client, NetworkError
from tests.support import pgbench
from tests.support.console import visitor
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.pgbench import Bench
from tests.support.service import added_pool, online_cluster
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(2) as found:
        yield found


@contextmanager
def bench(uri: str) -> Iterator[Bench]:
    """Keep a pool busy for as long as the block runs; no transaction may fail."""
    with pgbench.bench(uri) as seen:
        yield seen
    assert not seen.failed, seen.failed
    sys.stdout.write(f"{seen.done} transactions, held for {seen.held:.3f} s\n")


def get(client: Client, id: str) -> Any:
    return client.databases.get_cluster(id)["database"]


def placed(client: Client, name: str, host: str) -> Any:
    """Create a cluster on a host, with a pool and tables of pgbench; return it with the URI of the pool."""
    id = online_cluster(client, name, cenote={"host": host})["id"]
    pool = added_pool(client, id, "web")
    pgbench.initialize(get(client, id)["connection"]["uri"])
    return id, pool["connection"]["uri"]


def moved(client: Client, id: str, host: str) -> None:
    def is_there() -> bool:
        found = get(client, id)["cenote"]
        return found["host"] == host and "move" not in found

    wait_until(f"the cluster is on {host}", 90, is_there)


def is_empty(host: FleetHost, client: Client) -> bool:
    """Return whether nothing is left of clusters on a host: in its folders and in the store."""
    found = next(one for one in client.cenote.list_hosts()["hosts"] if one["name"] == host.name)
    folders = [*host.data_dir.glob("clusters/*"), *host.data_dir.glob("run/*")]
    return not folders and not found["clusters"] and not found["ports"]["claimed"]


def logged(hosts: Fleet) -> None:
    for host in hosts.hosts:
        sys.stderr.write(f"--- {host.name}\n{host.log()[-8000:]}\n")


@contextmanager
def told(hosts: Fleet) -> Iterator[None]:
    """Print the logs of all hosts when the block fails."""
    try:
        yield
    except BaseException:
        for host in hosts.hosts:
            sys.stderr.write(f"--- {host.name}\n{host.log()[-8000:]}\n")
        raise


def pool_uri(host: FleetHost, id: str) -> str:
    """Return the URI of a cluster's pool; the API of a host knows that host's address."""
    with host.client() as client:
        return str(client.databases.get_connection_pool(id, "web")["pool"]["connection"]["uri"])


def rows(uri: str) -> int:
    with psycopg.connect(uri, autocommit=True) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM pgbench_history").fetchall()
    return int(count)


def under_load(client: Client, id: str, uri: str, target: FleetHost) -> Bench:
    """Move a cluster while its pool is busy, until the old address leads to the new host."""
    with bench(uri) as seen:
        client.databases.move_cluster(id, {"host": target.name})
        wait_until("it is there", 90, lambda: get(client, id)["cenote"]["host"] == target.name)
        time.sleep(1)
    moved(client, id, target.name)
    return seen


def test_a_cluster_moves_there_and_back_and_no_query_of_its_pool_fails(hosts: Fleet) -> None:
    [first, second] = hosts.hosts
    with told(hosts), first.client() as client:
        id, uri = placed(client, "back-and-forth", first.name)
        there = under_load(client, id, uri, second)
        wait_until("nothing is left at the first", 30, lambda: is_empty(first, client))
        uri = pool_uri(second, id)
        assert rows(uri) == there.done
        back = under_load(client, id, uri, first)
        wait_until("nothing is left at the second", 30, lambda: is_empty(second, client))
        assert rows(pool_uri(first, id)) == there.done + back.done
        events = client.databases.list_events_logs(id)["events"]
        told_of = [event["cenote"]["summary"] for event in events]
        assert any(
            text.startswith("moved from host-1 to host-2, clients of its pools were held for")
            for text in told_of
        )
        assert any(text.startswith("moved from host-2 to host-1") for text in told_of)
        client.databases.destroy_cluster(id)
        wait_until("nothing is left", 30, lambda: is_empty(first, client))


def test_a_drained_host_is_empty_in_the_end_also_when_its_api_is_killed(hosts: Fleet) -> None:
    [first, second] = hosts.hosts
    with told(hosts), first.client() as client:
        clusters = [placed(client, f"drained-{number}", first.name) for number in range(4)]
        [host] = [one for one in client.cenote.list_hosts()["hosts"] if one["name"] == first.name]
        with bench(clusters[0][1]) as seen, second.client() as other:
            other.cenote.drain_host(host["id"])
            wait_until("one moves", 30, lambda: "move" in get(other, clusters[0][0])["cenote"])
            for api in (first.child("api"), second.child("api")):  # one of them is the controller
                assert api is not None
                os.kill(api, signal.SIGKILL)

            for id, _ in clusters:
                is_there = partial(is_on, other, id, second.name)
                wait_until(f"{id} is there", 120, is_there)
            time.sleep(1)
        wait_until("nothing is left", 60, lambda: is_empty(first, client))
        assert rows(pool_uri(second, clusters[0][0])) == seen.done
        [host] = [one for one in client.cenote.list_hosts()["hosts"] if one["name"] == first.name]
        assert (host["drain"]["moved"], host["drain"]["nodes"]) == (4, 4)
        client.cenote.undrain_host(host["id"])
        for id, _ in clusters:
            client.databases.destroy_cluster(id)


def is_on(client: Client, id: str, host: str) -> bool:
    try:
        return bool(get(client, id)["cenote"]["host"] == host)
    except NetworkError:  # of an API that was killed
        return False


def test_a_move_that_is_cancelled_leaves_nothing_behind(hosts: Fleet) -> None:
    [first, second] = hosts.hosts
    with told(hosts), first.client() as client:
        id, uri = placed(client, "stays", first.name)
        with bench(uri):
            first.cenote("cluster", "move", "stays")
            wait_until("it is copied", 60, lambda: list(second.data_dir.glob("clusters/*")))
            first.cenote("cluster", "move", "stays", "--cancel")
            wait_until("nothing is left", 60, lambda: is_empty(second, client))
        assert get(client, id)["cenote"]["host"] == first.name
        first.cenote("cluster", "move", "stays", "--to", second.name, "--wait")
        assert get(client, id)["cenote"]["host"] == second.name
        client.databases.destroy_cluster(id)


def test_the_console_moves_a_cluster_says_what_that_waits_for_and_cancels_it(hosts: Fleet) -> None:
    [first, second] = hosts.hosts
    with told(hosts), first.client() as client, visitor(first) as somebody:
        id, uri = placed(client, "shown", first.name)
        page = f"/console/clusters/{id}"
        with psycopg.connect(uri) as connection:
            connection.execute("SELECT 1")  # a transaction that the switch waits for
            reached = somebody.send(somebody.open(f"{page}/settings"), "Move", host=second.name)
            assert "Moving the cluster to host-2." in reached.text
            assert "Moving from host-1 to host-2, copying" in reached.text
            wait_until("it waits", 60, lambda: "a transaction in a pool" in somebody.open(page).text)
            somebody.send(somebody.open(f"{page}/settings"), "Cancel the move")
            wait_until("nothing is left", 60, lambda: is_empty(second, client))
            assert connection.execute("SELECT 2").fetchone() == (2,), "it was not cut"
        assert get(client, id)["cenote"]["host"] == first.name
        assert somebody.open(f"{page}/settings").has_form("Move")
        client.databases.destroy_cluster(id)


def test_a_cluster_that_is_deleted_while_it_moves_is_removed_from_both_hosts(hosts: Fleet) -> None:
    [first, second] = hosts.hosts
    with told(hosts), first.client() as client:
        id, uri = placed(client, "deleted", first.name)
        with suppress(psycopg.OperationalError), psycopg.connect(uri) as connection:
            connection.execute("SELECT 1")  # the switch waits for it
            client.databases.move_cluster(id)
            wait_until("it is copied", 60, lambda: list(second.data_dir.glob("clusters/*/pg-node-2")))
            client.databases.destroy_cluster(id)
        wait_until("nothing is left", 60, lambda: is_empty(first, client) and is_empty(second, client))
