"""Three hosts: clusters spread over them, one is lost, comes back, and is removed; the others go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cenote.host import processes
from cenote_client import Client, NotFoundError
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.service import SMALLEST, online
from tests.support.waiting import wait_until

CLUSTERS = 12
DOWN_SECONDS = 40  # from the end of a host until its clusters are down, in words
NOTICED_SECONDS = 8.0  # what an answer of the others may take on a busy machine


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(3) as running:
        yield running


@pytest.fixture(scope="module")
def clusters(hosts: Fleet) -> dict[str, list[Any]]:
    """The clusters that were created, by the name of their host."""
    with hosts.hosts[0].client() as client:
        made = [
            client.request("POST", "/v2/databases", json=SMALLEST | {"name": f"c{number:02}"})["database"]
            for number in range(CLUSTERS)
        ]
        ready = [online(client, cluster["id"]) for cluster in made]
    by_port = {host.name: range(host.first_port, host.api_port) for host in hosts.hosts}
    return {
        name: [cluster for cluster in ready if cluster["connection"]["port"] in ports]
        for name, ports in by_port.items()
    }


def states(client: Client) -> dict[str, Any]:
    return {host["name"]: host for host in client.cenote.list_hosts()["hosts"]}


def health(client: Client, cluster: Any) -> tuple[str, str]:
    seen = client.databases.get_cluster(cluster["id"])["database"]["cenote"]
    return seen["health"], seen["reason"]


def down_after(client: Client, lost: list[Any], bystander: Any) -> float:
    """Wait until clusters are down, and return how long that took; all others answer meanwhile."""
    began, slowest = time.monotonic(), 0.0

    def all_are_down() -> bool:
        nonlocal slowest
        asked = time.monotonic()
        assert health(client, bystander) == ("healthy", "")
        slowest = max(slowest, time.monotonic() - asked)
        return all(health(client, cluster)[0] == "down" for cluster in lost)

    wait_until("the clusters of the host are down", DOWN_SECONDS + 20, all_are_down)
    assert slowest < NOTICED_SECONDS
    return time.monotonic() - began


def crash(host: FleetHost) -> None:
    """Kill the service, and none of its servers."""
    for pid in (host.pid, *host.processes().values()):
        os.kill(pid, signal.SIGKILL)
    host.wait()


def spread_over_all_hosts(hosts: Fleet, clusters: dict[str, list[Any]]) -> None:
    assert {name: len(found) for name, found in clusters.items()} == dict.fromkeys(clusters, 4)
    with hosts.hosts[1].client() as client:
        assert {name: host["clusters"] for name, host in states(client).items()} == dict.fromkeys(clusters, 4)
        offered = client.databases.list_options()["cenote"]
        assert [place["name"] for place in offered["places"]] == list(clusters)


def lost_and_back_as_if_nothing_had_been(hosts: Fleet, clusters: dict[str, list[Any]]) -> None:
    first, _, third = hosts.hosts
    lost, bystander = clusters["host-3"], clusters["host-1"][0]
    with first.client() as client:
        third.lose()
        deleted = lost.pop()
        asked = time.monotonic()
        client.databases.destroy_cluster(deleted["id"])
        assert time.monotonic() - asked < NOTICED_SECONDS
        seconds = down_after(client, lost, bystander)
        assert seconds < DOWN_SECONDS
        for cluster in lost:
            assert health(client, cluster)[1].startswith("host host-3 does not answer since ")
        shown = states(client)
        assert [shown[name]["state"] for name in ("host-1", "host-2", "host-3")] == ["up", "up", "down"]
        claimed = shown["host-3"]["ports"]["claimed"]
        assert claimed == 3 * 4  # those of the deleted cluster, too
        with pytest.raises(NotFoundError):
            client.databases.get_cluster(deleted["id"])

        third.start()
        for cluster in lost:
            assert online(client, cluster["id"])["cenote"]["health"] == "healthy"
        wait_until(
            "the deleted cluster is removed",
            60,
            lambda: states(client)["host-3"]["ports"]["claimed"] == 3 * 3,
        )
        assert len(list((third.data_dir / "clusters").iterdir())) == 3


def lost_for_good(hosts: Fleet, clusters: dict[str, list[Any]]) -> None:
    first, second, third = hosts.hosts
    lost, bystander = clusters["host-3"], clusters["host-2"][0]
    with first.client() as client:
        refused = second.run("host", "remove", "host-3", "--lost", "--yes")
        assert "host-3 is up, so it is not lost" in refused.stderr
        crash(third)
        servers = {process.pid for process in processes.below(third.data_dir / "clusters")}
        assert servers
        down_after(client, lost, bystander)
        assert "Removed host host-3" in first.run("host", "remove", "host-3", "--lost", "--yes").stderr
        assert list(states(client)) == ["host-1", "host-2"]
        for cluster in lost:
            assert health(client, cluster) == ("down", "its host was removed")
        client.databases.destroy_cluster(lost[0]["id"])
        events = first.cenote("audit", "-o", "json")
        assert "host host-3: removed (127.0.1.3, lost, nodes: 3)" in events

        third.launch()
        assert third.wait() != 0
        assert "the host host-3 " in third.log()
        assert "was removed as lost from this service" in third.log()
        assert {process.pid for process in processes.below(third.data_dir / "clusters")} == servers
        assert list(states(client)) == ["host-1", "host-2"]
        assert health(client, bystander) == ("healthy", "")


def test_clusters_spread_and_a_host_is_lost_is_back_and_is_lost_for_good(
    hosts: Fleet, clusters: dict[str, list[Any]]
) -> None:
    """One after the other, since each leaves the hosts as the next one needs them."""
    spread_over_all_hosts(hosts, clusters)
    lost_and_back_as_if_nothing_had_been(hosts, clusters)
    lost_for_good(hosts, clusters)
