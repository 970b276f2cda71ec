"""Resizing a cluster that is at work, with the whole service."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Any

import pytest

from cenote.host import programs
from cenote.model import catalog
from cenote_client import Client
from tests.support.load import load
from tests.support.service import Service, added_pool, answer_of, online, online_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long

LARGER, SMALLEST = "db-s-1vcpu-2gb", "db-s-1vcpu-1gb"


def resize(client: Client, id: str, size: str) -> None:
    client.request("PUT", f"/v2/databases/{id}/resize", json={"size": size, "num_nodes": 1})


def status(client: Client, id: str) -> str:
    return str(client.request("GET", f"/v2/databases/{id}")["database"]["status"])


def max_connections(cluster: Any) -> int:
    """Return the connections that the customer has; the server has three times those of the pools."""
    return (int(answer_of(cluster["connection"]["uri"], "SHOW max_connections")) - 3) // 3 + 3


def test_clients_of_a_pool_see_no_error_while_their_cluster_is_resized(client: Client) -> None:
    cluster = online_cluster(client, "resized")
    id = cluster["id"]
    pool = added_pool(client, id, "busy", size=8)
    with load(pool["connection"]["uri"]) as busy:
        for size in (LARGER, SMALLEST):
            resize(client, id, size)
            seen = status(client, id)  # the answer waits for a short while until it is online again
            cluster = online(client, id)
            busy.proceed(50)
            assert seen in ("resizing", "online")
            assert cluster["size"] == size
            assert max_connections(cluster) == catalog.pool_capacity(catalog.SIZES[size]) + 3
    assert busy.errors == []
    client.request("DELETE", f"/v2/databases/{id}")


def test_pgbench_through_a_pool_sees_no_error_while_its_cluster_is_resized(client: Client) -> None:
    cluster = online_cluster(client, "benched")
    id = cluster["id"]
    uri = added_pool(client, id, "bench", size=8)["connection"]["uri"]
    pgbench = max(programs.find().postgres.values(), key=lambda one: int(one.major)).bin / "pgbench"
    if not pgbench.exists():
        pytest.skip("pgbench is not installed beside PostgreSQL")
    subprocess.run([pgbench, "-i", "-q", uri], check=True, capture_output=True)
    # A thread for each client: pgbench blocks a thread that prepares a statement, and with it whatever
    # transactions its other clients have open, for which the pause would wait in vain.
    command = [pgbench, "-c", "8", "-j", "8", "-T", "600", "-M", "prepared", uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as bench:
        try:
            resize(client, id, LARGER)
            assert max_connections(online(client, id)) == 50
            made = answer_of(uri, "SELECT count(*) FROM pgbench_history")
            wait_until(
                "pgbench goes on",
                30,
                lambda: answer_of(uri, "SELECT count(*) FROM pgbench_history") > made + 50,
            )
            assert bench.poll() is None
        finally:
            bench.send_signal(signal.SIGINT)
            output, _ = bench.communicate(timeout=60)
    assert not re.search("error|aborted|FATAL", output), output
    client.request("DELETE", f"/v2/databases/{id}")


@pytest.mark.parametrize("last_words", ["Reload(", "writing a checkpoint", "Restart(", "Resume("])
def test_a_resize_during_which_the_service_is_killed_is_completed_by_the_next(
    running: Service, client: Client, last_words: str
) -> None:
    id = online_cluster(client, "killed")["id"]
    pool = added_pool(client, id, "busy", size=8)
    with load(pool["connection"]["uri"], clients=2) as busy:
        before = len(running.log())
        resize(client, id, LARGER)
        wait_until("the resize has come so far", 30, lambda: last_words in running.log()[before:])
        running.end(signal.SIGKILL)
        running.start()
        with running.client() as again:
            cluster = online(again, id)
        busy.proceed(20)
    assert busy.errors == []
    assert max_connections(cluster) == 50
    with running.client() as again:
        again.request("DELETE", f"/v2/databases/{id}")
