"""The store of a fleet: its members come from hosts that join, and it goes on when hosts are lost."""

from __future__ import annotations

import json
import signal
import time

import pytest

from cenote.model.paths import Layout
from cenote_client import ServerError
from tests.support.fleet import FleetHost
from tests.support.service import online_cluster
from tests.support.store_fleet import (
    StoreFleet,
    etcd_of,
    lose_disk,
    seats,
    signal_etcd,
    store_fleet,
    wait_for_seats,
)
from tests.support.waiting import wait_until


def told(host: FleetHost) -> str:
    return host.cenote("store", "status")


def states(host: FleetHost) -> dict[str, tuple[str, str]]:
    """Return kind and state of each member, as a host tells them."""
    found = json.loads(host.cenote("store", "status", "-o", "json"))
    return {one["host"]: (one["kind"], one["state"]) for one in found}


def tag(host: FleetHost, name: str) -> None:
    """Change something, and see it by a read."""
    with host.client() as client:
        client.request("POST", "/v2/tags", json={"name": name})
        assert client.request("GET", f"/v2/tags/{name}")["tag"]["name"] == name


def servers_of(host: FleetHost) -> dict[str, int]:
    return {name: pid for name, pid in host.servers().items() if name != "etcd"}


def test_the_store_grows_with_the_fleet_and_goes_on_when_members_are_lost() -> None:
    with store_fleet(1) as fleet:
        first = fleet.hosts[0]
        _grows(fleet)
        with first.client() as client:
            online_cluster(client, "kept")
        running = servers_of(first)
        _one_is_frozen(fleet)
        _a_disk_is_lost(fleet)
        _two_are_lost(fleet)
        _recovers(fleet)
        assert servers_of(first) == running
        with first.client() as client:
            assert [one["name"] for one in client.databases.list_clusters()["databases"]] == ["kept"]


def test_the_member_of_a_host_that_is_removed_goes_to_another_or_away() -> None:
    with store_fleet(4) as fleet:
        first, second, third, fourth = fleet.hosts
        wait_for_seats(first, 3)
        assert not etcd_of(fourth).has_data
        fleet.forget(third)
        wait_until(
            "another takes its place", 60, lambda: set(states(first)) == {"host-1", "host-2", "host-4"}
        )
        wait_for_seats(first, 3)
        tag(fourth, "replaced")
        wait_until("its data are aside", 30, lambda: not etcd_of(third).has_data)
        assert "is no member of the store any more" in third.log()
        third.end()
        fleet.forget(second)
        wait_for_seats(first, 1, learners=1, seconds=60)
        tag(first, "shrunk")


def _grows(fleet: StoreFleet) -> None:
    first = fleet.hosts[0]
    assert "1 of 1 members that vote answers" in told(first)
    fleet.add()
    wait_for_seats(first, 1, learners=1)
    assert states(first) == {"host-1": ("leads", "answers"), "host-2": ("learns", "answers")}
    fleet.add()
    wait_for_seats(first, 3)
    assert "3 of 3 members that vote answer; changes go on when one of them is lost" in told(fleet.hosts[2])
    for number, host in enumerate(fleet.hosts):
        tag(host, f"grown-{number}")


def _one_is_frozen(fleet: StoreFleet) -> None:
    second = fleet.hosts[1]
    signal_etcd(second, signal.SIGSTOP)
    began = time.monotonic()
    for number, host in enumerate(fleet.hosts):
        tag(host, f"frozen-{number}")
    assert time.monotonic() - began < 30
    assert states(fleet.hosts[0])["host-2"] == ("votes", "does not answer")
    assert "start Cenote on host-2" in told(second)
    signal_etcd(second, signal.SIGCONT)
    wait_until("it answers again", 20, lambda: "3 of 3" in told(second))


def _a_disk_is_lost(fleet: StoreFleet) -> None:
    third = fleet.hosts[2]
    before = set(seats(third))
    lose_disk(third)
    wait_until("it says so", 20, lambda: "cenote store replace" in third.log())
    tag(third, "without-its-disk")
    assert "'cenote store replace' there" in told(fleet.hosts[0])
    refused = fleet.hosts[0].run("store", "replace", "--yes")
    assert "there is nothing to replace" in refused.stderr
    assert "is a member again, which votes" in third.cenote("store", "replace", "--yes")
    assert set(seats(third)) == before
    assert "3 of 3" in told(third)
    tag(third, "replaced")


def _two_are_lost(fleet: StoreFleet) -> None:
    first = fleet.hosts[0]
    refused = first.run("store", "recover", "--yes")
    assert "the store is not lost" in refused.stderr
    for host in fleet.hosts[1:]:
        host.lose()
    with first.client() as client:
        assert [one["name"] for one in client.databases.list_clusters()["databases"]] == ["kept"]
        with pytest.raises(ServerError) as error:
            client.request("POST", "/v2/tags", json={"name": "lost"})
    assert error.value.status == 503
    assert "which is no majority" in told(first)
    first.end()
    first.launch()
    wait_until("the next one waits", 60, lambda: "waiting for the store" in first.log())


def _recovers(fleet: StoreFleet) -> None:
    first = fleet.hosts[0]
    assert "goes on with the records of this host" in first.cenote("store", "recover", "--yes")
    wait_until("it serves", 60, lambda: first.log().count("Cenote serves") == 2)
    tag(first, "recovered")
    for host in fleet.hosts[1:]:
        host.start()
    wait_for_seats(first, 3, seconds=90)
    for number, host in enumerate(fleet.hosts):
        tag(host, f"back-{number}")
    assert all(etcd_of(host).pid for host in fleet.hosts)
    assert Layout(first.data_dir).members.stat().st_mode & 0o777 == 0o644
