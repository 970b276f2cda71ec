"""The API, the command line, the console and ``/metrics`` show what the living agent has seen."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import Client, WaitTimeoutError
from tests.support.console import Sheet, Visitor
from tests.support.scraping import samples, value
from tests.support.service import WITHOUT_LIMITS, Service, online_cluster, run_cenote
from tests.support.service_processes import members
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)

SECONDS = 60


@pytest.fixture(scope="module")
def cluster(client: Client) -> Any:
    return online_cluster(client, "watched")


def health(client: Client, cluster: Any) -> Any:
    return client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]


def becomes(client: Client, cluster: Any, wanted: str) -> Any:
    """Wait until the cluster has this health, and return its key ``cenote``."""

    def seen() -> Any:
        found = health(client, cluster)
        return found if found["health"] == wanted else None

    return wait_until(f"the cluster is {wanted}", SECONDS, seen)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes, which are there and do nothing, and let them go on at the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def colours(sheet: Sheet) -> list[str]:
    """Return the classes of the states that a page shows."""
    classes = [(attributes.get("class") or "").split() for _, attributes in sheet.elements]
    return [found[1] for found in classes if found[:1] == ["state"]]


def server_pids(running: Service, cluster: Any) -> list[int]:
    pid_file = Layout(running.data_dir).node(UUID(cluster["id"]), "node-1").data / "postmaster.pid"
    server = int(pid_file.read_text().split()[0])
    return [server, *processes.children(server)]


def test_a_cluster_whose_agent_hangs_is_online_and_of_unknown_health_everywhere(
    running: Service, client: Client, http: httpx.Client, cluster: Any, somebody: Visitor
) -> None:
    before = becomes(client, cluster, "healthy")
    page = f"/console/clusters/{cluster['id']}"
    assert colours(somebody.open(page)) == ["good"]
    with stopped(members(running)["agent"]):
        unknown = becomes(client, cluster, "unknown")
        assert unknown["reason"] == "the agent of its host does not answer"
        assert unknown["since"] > before["since"]
        [listed] = client.request("GET", "/v2/databases")["databases"]
        assert (listed["status"], listed["cenote"]["health"]) == ("online", "unknown")
        for path in ("/console/clusters", page):
            sheet = somebody.open(path)
            assert colours(sheet) == ["dim"]
            assert "Online, unknown" in sheet.text
            assert unknown["reason"] in sheet.text
        found = samples(http.get("/metrics").text)
        assert value(found, "cenote_cluster_health", cluster="watched", health="unknown") == 1
        assert value(found, "cenote_cluster_health", cluster="watched", health="healthy") == 0
        variables = running.environment()
        heading, row = run_cenote("cluster", "list", **variables).stdout.splitlines()
        assert heading.split()[:3] == ["NAME", "STATUS", "HEALTH"]
        assert row.split()[:3] == ["watched", "online", "unknown"]
        got = run_cenote("cluster", "get", "watched", "--output", "json", **variables)
        assert json.loads(got.stdout)["cenote"] == unknown
    assert becomes(client, cluster, "healthy") == before


def test_an_agent_that_takes_over_keeps_since_when_a_cluster_is_healthy(
    running: Service, client: Client, cluster: Any
) -> None:
    before, killed = becomes(client, cluster, "healthy"), members(running)["agent"]
    os.kill(killed, signal.SIGKILL)
    wait_until("there is another agent", SECONDS, lambda: members(running).get("agent", killed) != killed)
    # The record of the former presence stays until the new agent writes its own.
    wait_until("it has looked", SECONDS, lambda: "looked" not in health(client, cluster)["reason"])
    assert becomes(client, cluster, "healthy") == before


def test_after_a_reboot_a_cluster_is_healthy_since_its_server_was_started_again(
    running: Service, client: Client, cluster: Any
) -> None:
    before = becomes(client, cluster, "healthy")
    pids = server_pids(running, cluster)
    running.end(signal.SIGKILL)
    for pid in [*running.servers().values(), *pids]:
        with contextlib.suppress(ProcessLookupError):  # its server has taken it along
            os.kill(pid, signal.SIGKILL)
    running.start()
    found = becomes(client, cluster, "healthy")
    assert found["since"] > before["since"]
    assert set(pids).isdisjoint(server_pids(running, cluster))


def test_waiting_for_a_cluster_goes_on_while_its_server_hangs_and_says_why_in_the_end(
    running: Service, client: Client, cluster: Any, somebody: Visitor
) -> None:
    becomes(client, cluster, "healthy")
    with stopped(*server_pids(running, cluster)):
        down = becomes(client, cluster, "down")
        assert "PostgreSQL" in down["reason"]
        sheet = somebody.open("/console/clusters")
        assert colours(sheet) == ["bad"]
        assert "Online, down" in sheet.text
        with pytest.raises(WaitTimeoutError, match=r"online, but cannot be used \(down: ") as waited:
            client.databases.wait_until_online(cluster["id"], timeout=1)
        assert waited.value.last["status"] == "online"
    assert client.databases.wait_until_online(cluster["id"], timeout=SECONDS)["id"] == cluster["id"]


def test_an_etcd_that_hangs_is_noticed_though_its_watch_stays_open(
    running: Service, client: Client, http: httpx.Client, cluster: Any
) -> None:
    becomes(client, cluster, "healthy")
    with stopped(running.servers()["etcd"]):
        becomes(client, cluster, "unknown")
        assert http.get("/healthz").json() == {"status": "degraded", "store": "disconnected"}
        assert value(samples(http.get("/metrics").text), "cenote_store_connected") == 0
    becomes(client, cluster, "healthy")
    assert http.get("/healthz").status_code == 200
