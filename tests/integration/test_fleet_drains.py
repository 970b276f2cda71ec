"""Hosts that are drained, by the command line and in the console; test_fleet_moves.py has that all leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cenote_client import BusyError, Client
from tests.support.console import Sheet, visitor
from tests.support.fleet import Fleet, fleet
from tests.support.service import SMALLEST, online


@pytest.fixture
def hosts() -> Iterator[Fleet]:
    """Three hosts with a cluster on each."""
    with fleet(3) as running, running.hosts[0].client() as client:
        for host in running.hosts:
            wanted = {**SMALLEST, "name": f"on-{host.name}", "cenote": {"host": host.name}}
            online(client, client.request("POST", "/v2/databases", json=wanted)["database"]["id"])
        yield running


def states(client: Client) -> dict[str, Any]:
    return {host["name"]: host for host in client.cenote.list_hosts()["hosts"]}


def test_a_drained_host_takes_no_cluster(
    hosts: Fleet,
) -> None:
    first, second, _ = hosts.hosts
    refused = first.run("host", "remove", "host-2", "--yes")
    assert refused.returncode != 0
    assert "host-2 still has the cluster " in refused.stderr
    assert "Drain the host first" in refused.stderr
    assert "host-2 is draining, 0 of 1 moved" in first.run("host", "drain", "host-2").stderr
    try:
        with first.client() as client:
            made = client.request("POST", "/v2/databases", json=SMALLEST | {"name": "elsewhere"})["database"]
            assert made["connection"]["port"] not in range(second.first_port, second.api_port)
            client.databases.destroy_cluster(made["id"])
            with pytest.raises(BusyError, match="host-2 is being drained"):
                client.request(
                    "POST", "/v2/databases", json=SMALLEST | {"name": "there", "cenote": {"host": "host-2"}}
                )
            assert states(client)["host-2"]["reason"].startswith("drain")
    finally:
        first.cenote("host", "undrain", "host-2")


def test_the_console_drains_a_host_and_says_where_a_cluster_fits(hosts: Fleet) -> None:
    with visitor(hosts.hosts[0]) as somebody:
        drained = somebody.send(somebody.open("/console/hosts"), "Drain host-3")
        assert "host-3 is draining, 0 of 1 moved" in drained.text
        form = somebody.open("/console/clusters/new")
        assert "host-3: is being drained" in form.text
        assert "fits on all hosts" not in form.text  # host-3 takes nothing
        back = somebody.send(drained, "Stop draining host-3")
        assert "The host takes clusters again." in back.text
        asked = somebody.open(next(link for link in removals(back) if link))
        refused = somebody.send(asked, "Remove host", 412)
        assert "still has the cluster" in refused.text or "answers this request itself" in refused.text


def removals(sheet: Sheet) -> list[str]:
    links = [str(given.get("href")) for tag, given in sheet.elements if tag == "a"]
    return [link for link in links if link.endswith("/remove")]
