"""Rotations of the sealing keys of several hosts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cenote.model.paths import Layout
from cenote.security.sealing import Sealer
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.service import calling, online_cluster
from tests.support.waiting import wait_until

CONFIG = {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"}


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(2) as started:
        yield started


def ids(host: FleetHost, ring: str) -> list[str]:
    layout = Layout(host.data_dir)
    path = {"api": layout.api_sealing_key, "host": layout.api_host_keys, "agent": layout.host_keys}[ring]
    return [key.id for key in Sealer(path).keys]


def rotated(host: FleetHost, ring: str) -> Any:
    """Rotate a ring through a host's API; return how it ended."""
    with calling(host) as http:
        answer = http.post("/v2/cenote/keys/rotate", params={"ring": ring})
        assert answer.status_code == 202, answer.text
        wait_until(
            "the rotation has ended",
            60,
            lambda: http.get("/v2/cenote/keys").json()["rotation"]["state"] != "running",
        )
        return http.get("/v2/cenote/keys").json()["rotation"]


def states(http: Any) -> dict[str, str]:
    return {host["name"]: host["state"] for host in http.get("/v2/cenote/hosts").json()["hosts"]}


def test_a_rotation_goes_to_all_hosts_and_each_api_opens_and_seals_afterwards(hosts: Fleet) -> None:
    first, second = hosts.hosts
    with first.client() as one, second.client() as other:
        cluster = online_cluster(one, "before")
        path = f"/v2/databases/{cluster['id']}"
        body = {"sink_name": "away", "sink_type": "rsyslog", "config": CONFIG}
        one.request("POST", f"{path}/logsink", json=body)
        before = {ring: ids(first, ring) for ring in ("api", "host", "agent")}
        assert rotated(first, "api")["state"] == "done"
        assert rotated(second, "host")["state"] == "done"
        for ring, old in before.items():
            assert ids(first, ring) == ids(second, ring)
            assert len(ids(first, ring)) == 1
            assert ids(first, ring) != old
        password = cluster["connection"]["password"]
        for client in (one, other):
            assert client.request("GET", path)["database"]["connection"]["password"] == password
            [sink] = client.request("GET", f"{path}/logsink")["sinks"]
            assert sink["config"]["server"] == "192.0.2.1"
        user = other.request("POST", f"{path}/users", json={"name": "app"})["user"]
        assert one.request("GET", f"{path}/users/app")["user"]["password"] == user["password"]
        made = online_cluster(other, "after")
        assert one.request("GET", f"/v2/databases/{made['id']}")["database"]["connection"]["password"]


def test_a_rotation_is_refused_while_a_host_does_not_answer_and_goes_on_when_it_is_back(
    hosts: Fleet,
) -> None:
    first, second = hosts.hosts
    before = ids(first, "api")
    api = second.child("api")
    assert api is not None
    os.kill(api, signal.SIGSTOP)
    try:
        ended = rotated(first, "api")
        assert ended["state"] == "failed"
        assert "the host host-2 has not taken the key: its API does not answer" in ended["message"]
        assert ids(first, "api") == before
    finally:
        os.kill(api, signal.SIGCONT)
    wait_until("the API has looked", 20, lambda: len(ids(second, "api")) >= 1)
    agent = second.child("agent")
    assert agent is not None
    os.kill(agent, signal.SIGSTOP)
    try:
        with calling(first) as http:
            wait_until("it is lost", 30, lambda: states(http)["host-2"] != "up")
            refused = http.post("/v2/cenote/keys/rotate", params={"ring": "host"})
            assert refused.status_code == 412
            assert "while these hosts are out of reach: host-2" in refused.json()["message"]
    finally:
        os.kill(agent, signal.SIGCONT)
    with calling(first) as http:
        wait_until("it is back", 30, lambda: states(http)["host-2"] == "up")
    assert rotated(first, "api")["state"] == "done"
    assert ids(first, "api") == ids(second, "api") != before


def test_an_api_that_is_killed_in_a_rotation_opens_everything_afterwards(hosts: Fleet) -> None:
    first, second = hosts.hosts
    with first.client() as client, calling(first) as http:
        cluster = online_cluster(client, "killed")
        password = cluster["connection"]["password"]
        assert http.post("/v2/cenote/keys/rotate").status_code == 202
        api = second.child("api")
        assert api is not None
        os.kill(api, signal.SIGKILL)
        wait_until("it is back", 30, lambda: second.child("api") not in (None, api))
        wait_until(
            "the rotation has ended",
            60,
            lambda: http.get("/v2/cenote/keys").json()["rotation"]["state"] != "running",
        )
        print(http.get("/v2/cenote/keys").json()["rotation"])
        wait_until("a rotation is done", 60, lambda: rotated(second, "api")["state"] == "done")
        assert ids(first, "api") == ids(second, "api")
        for host in hosts.hosts:
            with calling(host) as each:
                shown = each.get(f"/v2/databases/{cluster['id']}").json()["database"]["connection"]
                assert shown["password"] == password
        with psycopg.connect(cluster["connection"]["uri"].replace("127.0.1.1", address_of(hosts, cluster))):
            pass


def address_of(hosts: Fleet, cluster: Any) -> str:
    found = (host for host in hosts.hosts if (host.data_dir / "clusters" / cluster["id"]).exists())
    return next(found).address
