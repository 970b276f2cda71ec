"""Ports of clusters on a machine that other services and programs share."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cenote.agent.port_holding import RECORD_SECONDS
from cenote_client import Client, ServerError
from tests.support.service import (
    SMALLEST,
    WITHOUT_LIMITS,
    Service,
    answer_of,
    online,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

EACH = int(os.environ.get("CENOTE_TEST_CLUSTERS", "6"))  # clusters of each service


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Service, Service]]:
    """Two services with the same range of ports, which has room for all clusters of both.

    One listens on one address, the other on all.
    """
    with service(*WITHOUT_LIMITS, clusters=2 * EACH + 6) as one:
        ports = f"--ports={one.first_port}-{one.api_port - 1}"
        with service(*WITHOUT_LIMITS, ports, "--host=0.0.0.0", "--public-host=localhost") as other:
            yield one, other


def created(client: Client, name: str) -> Any:
    return client.request("POST", "/v2/databases", json=SMALLEST | {"name": name})["database"]


def ports_of(cluster: Any) -> list[int]:
    metrics = [endpoint["port"] for endpoint in cluster["metrics_endpoints"]]
    return [cluster["connection"]["port"], *metrics]


def test_two_services_on_one_machine_never_choose_the_same_ports(both: tuple[Service, Service]) -> None:
    with both[0].client() as one, both[1].client() as other, ThreadPoolExecutor(2 * EACH) as threads:
        clients = [one, other] * EACH
        names = [f"cluster-{number}" for number in range(2 * EACH)]
        made = list(threads.map(created, clients, names))
        chosen = [port for cluster in made for port in ports_of(cluster)]
        assert len(chosen) == len(set(chosen)) == 4 * EACH
        for client, cluster in zip(clients, made, strict=True):
            now = online(client, cluster["id"])
            assert ports_of(now) == ports_of(cluster)
            assert answer_of(now["connection"]["uri"]) == 42


def test_a_port_that_a_program_has_taken_a_moment_ago_is_passed_over(both: tuple[Service, Service]) -> None:
    with both[0].client() as client:
        first = online_cluster(client, "before")["connection"]["port"]
        with socket.create_server(("127.0.0.1", first + 2)), socket.socket() as bound:
            bound.bind(("127.0.0.1", first + 5))  # a program that does not listen yet
            cluster = online_cluster(client, "beside")
            assert cluster["connection"]["port"] not in range(first, first + 6)
            assert answer_of(cluster["connection"]["uri"]) == 42


def test_a_host_whose_agent_hangs_is_given_no_cluster_and_is_named(both: tuple[Service, Service]) -> None:
    agent = both[0].processes()["agent"]
    with both[0].client() as client:
        os.kill(agent, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(ServerError, match=r"The host \S+ does not answer"):
                created(client, "late")
            assert time.monotonic() - began < 20
        finally:
            os.kill(agent, signal.SIGCONT)
        online_cluster(client, "late")


def test_a_claim_ends_once_the_servers_listen(both: tuple[Service, Service]) -> None:
    ours = range(both[0].first_port, both[0].api_port)
    with both[0].client() as client:
        online_cluster(client, "done")
    # The agent that hung may have claimed ports for an API that no longer waited, and keeps them for a while.
    wait_until("no claim is left", RECORD_SECONDS + 30, lambda: not claimed() & set(ours))


def claimed() -> set[int]:
    """Return the ports with a claim of any service on this machine."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return {int(line.rpartition("/")[2]) for line in lines if "@cenote-port/" in line}
