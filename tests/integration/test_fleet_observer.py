"""Hosts that ask one another: numbers, logs, claims and keys through the API of another host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from cenote.errors import Unavailable
from cenote.http import fleet_tls
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import HostRole, RemovedHost
from cenote.model.paths import Layout
from cenote.security import certificates, fleet_certificates
from cenote.server.settings import EtcdSettings
from cenote.stats.remote_observer import Peer, RemoteObserver
from cenote.store.encoding import encode
from cenote.store.etcd_messages import TransactionRequest, put
from cenote.store.keys import Keys
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.scraping import samples, value
from tests.support.service import added_pool, calling, online, online_cluster, tried
from tests.support.waiting import wait_until

QUESTIONS = ("pool_stats", "pool_history", "pool_advice", "logs")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(2) as started:
        yield started


@pytest.fixture(scope="module")
def clusters(hosts: Fleet) -> dict[str, Any]:
    """A cluster with a pool on each host, by its name; made through the first host's API."""
    found: dict[str, Any] = {}
    with hosts.hosts[0].client() as client:
        for number in range(4):
            cluster = online_cluster(client, f"cluster-{number}")
            name = next(host.name for host in hosts.hosts if is_on(host, cluster))
            added_pool(client, cluster["id"], "web")
            found.setdefault(name, cluster)
    assert sorted(found) == ["host-1", "host-2"]
    return found


def is_on(host: FleetHost, cluster: Any) -> bool:
    return bool(Layout(host.data_dir).cluster(UUID(cluster["id"])).root.exists())


@contextlib.contextmanager
def stopped(host: FleetHost) -> Iterator[None]:
    """Have the agent of a host hang."""
    agent = host.child("agent")
    assert agent is not None
    os.kill(agent, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent, signal.SIGCONT)


def answered(http: httpx.Client, method: str, path: str, **given: Any) -> tuple[httpx.Response, float]:
    """Return an answer and how long it took."""
    began = time.monotonic()
    answer = http.request(method, path, **given)
    return answer, time.monotonic() - began


def test_each_api_answers_questions_about_the_clusters_of_every_host(
    hosts: Fleet, clusters: dict[str, Any]
) -> None:
    for host in hosts.hosts:
        with calling(host) as http:
            for cluster in clusters.values():
                for question in QUESTIONS:
                    answer = http.get(f"/v2/databases/{cluster['id']}/{question}")
                    assert answer.status_code == 200, answer.text
            ids = ",".join(cluster["id"] for cluster in clusters.values())
            activity = http.get("/v2/cenote/activity", params={"cluster_uuids": ids}).json()["activity"]
            assert [one["numbers"] is not None for one in activity] == [True, True]


def test_logs_say_which_node_and_host_they_are_of(hosts: Fleet, clusters: dict[str, Any]) -> None:
    with calling(hosts.hosts[0]) as http:
        for name, cluster in clusters.items():
            logs = http.get(f"/v2/databases/{cluster['id']}/logs").json()["logs"]
            assert (logs["host"], logs["node"]) == (name, "node-1")
    for host in hosts.hosts:
        assert f" [agent@{host.name}] " in host.log()


def test_each_api_tells_metrics_of_all_hosts_and_finds_clusters_at_their_hosts(
    hosts: Fleet, clusters: dict[str, Any]
) -> None:
    for host in hosts.hosts:
        with calling(host) as http:
            found = samples(http.get("/metrics").text)
            for other in hosts.hosts:
                assert value(found, "cenote_host_up", host=other.name) == 1
                assert value(found, "cenote_agent_up", host=other.name) == 1
                assert value(found, "cenote_agent_passes_total", host=other.name, outcome="done") > 0
                assert value(found, "cenote_host_info", host=other.name, address=other.address) == 1
                health = {"cluster": clusters[other.name]["name"], "health": "healthy"}
                assert value(found, "cenote_cluster_health", host=other.name, **health) == 1
            targets = {
                target["labels"]["__meta_cenote_cluster"]: target
                for target in http.get("/v2/cenote/metrics_targets").json()
            }
            for other in hosts.hosts:
                target = targets[clusters[other.name]["name"]]
                assert target["targets"][0].startswith(f"{other.address}:")
                assert target["labels"]["__meta_cenote_host"] == other.name
    with calling(hosts.hosts[0]) as http, stopped(hosts.hosts[1]):
        answer, took = answered(http, "GET", "/metrics")
        found = samples(answer.text)
        assert value(found, "cenote_agent_up", host="host-1") == 1
        assert value(found, "cenote_agent_up", host="host-2") == 0
        assert took < 10


def test_the_agent_shows_its_own_metrics_to_apis_of_the_fleet(hosts: Fleet) -> None:
    layout, other = Layout(hosts.hosts[0].data_dir), hosts.hosts[1]
    url = f"https://{other.address}:{FleetPorts.of(other.fleet_port).agent}/metrics"
    with httpx.Client(verify=own_context(layout)) as http:
        found = samples(http.get(url).text)
    assert value(found, "cenote_agent_up", host="host-2") == 1
    assert {dict(labels)["host"] for one in found.values() for labels in one} == {"host-2"}


def test_samples_of_another_host_are_streamed(hosts: Fleet, clusters: dict[str, Any]) -> None:
    path = f"/v2/databases/{clusters['host-2']['id']}/pool_stats/stream"
    with calling(hosts.hosts[0]) as http, http.stream("GET", path) as stream:
        lines = stream.iter_lines()
        assert any(line.startswith("event: sample") for line in lines)


def test_a_host_that_hangs_is_named_within_three_seconds_and_hurts_no_other_answer(
    hosts: Fleet, clusters: dict[str, Any]
) -> None:
    away, here = clusters["host-2"]["id"], clusters["host-1"]["id"]
    with calling(hosts.hosts[0]) as http:
        for question in QUESTIONS:  # connections that are open already
            assert http.get(f"/v2/databases/{away}/{question}").status_code == 200
        with stopped(hosts.hosts[1]):
            for question in QUESTIONS:
                answer, took = answered(http, "GET", f"/v2/databases/{away}/{question}")
                assert answer.status_code == 503
                assert answer.json()["message"] == "The host host-2 does not answer. Try again later."
                assert took < 10
                answer, _ = answered(http, "GET", f"/v2/databases/{here}/{question}")
                assert answer.status_code == 200
            ids = f"{away},{here}"
            activity = http.get("/v2/cenote/activity", params={"cluster_uuids": ids}).json()["activity"]
            assert [one["numbers"] is not None for one in activity] == [False, True]
            assert http.get("/v2/databases").status_code == 200
        wait_until(
            "it answers again",
            20,
            lambda: http.get(f"/v2/databases/{away}/pool_stats").status_code == 200,
        )


def test_a_new_cluster_goes_to_a_host_that_answers(hosts: Fleet, clusters: dict[str, Any]) -> None:
    with hosts.hosts[0].client() as client, stopped(hosts.hosts[1]):
        for number in range(3):
            cluster = online_cluster(client, f"meanwhile-{number}")
            assert is_on(hosts.hosts[0], cluster)
            client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_a_change_does_not_wait_for_a_lost_host_except_one_that_takes_access_away(
    hosts: Fleet, clusters: dict[str, Any]
) -> None:
    path = f"/v2/databases/{clusters['host-2']['id']}"
    with calling(hosts.hosts[0]) as http, hosts.hosts[0].client() as client:
        user = http.post(f"{path}/users", json={"name": "app"}).json()["user"]
        port = clusters["host-2"]["connection"]["port"]
        opened = f"postgres://app:{user['password']}@127.0.1.2:{port}/defaultdb?sslmode=require"
        wait_until("the user is there", 30, lambda: tried(opened) == 42)
        with stopped(hosts.hosts[1]):
            wait_until(
                "it is lost",
                30,
                lambda: http.get(path).json()["database"]["cenote"]["health"] == "unknown",
            )
            time.sleep(3)  # of grace
            answer, _ = answered(http, "POST", f"{path}/dbs", json={"name": "shop"})
            assert answer.status_code == 201
            assert answer.json()["cenote"] == {"pending": True, "reason": "the host host-2 does not answer"}
            answer, _ = answered(http, "POST", f"{path}/users/app/reset_auth")
            assert answer.status_code == 503
            why = "the host host-2 does not answer, and may go on letting clients in"
            assert f"{why} until it is back or removed" in answer.json()["message"]
            assert tried(opened) == 42  # it does
        wait_until("it is in force", 30, lambda: tried(opened) is None)
        online(client, clusters["host-2"]["id"])


# -- Who may ask


@pytest.fixture
def asking(hosts: Fleet) -> Any:
    """Asks the agent of the second host, as what a certificate says that one is."""
    layout, host = Layout(hosts.hosts[0].data_dir), hosts.hosts[1]
    name = fleet_certificates.host_id_of(
        certificates.names_of(Layout(host.data_dir).fleet_certificate.read_bytes())
    )

    def ask(context: ssl.SSLContext, named: str = name) -> Any:
        async def whole() -> Any:
            port = FleetPorts.of(host.fleet_port).agent
            peer = Peer(host.address, port, f"{named}{fleet_certificates.HOST_SUFFIX}", context)
            observer = RemoteObserver(peer)
            try:
                return await observer.agent()
            finally:
                await observer.close()

        return asyncio.run(whole())

    return layout, ask


def own_context(layout: Layout) -> ssl.SSLContext:
    return fleet_tls.client_context(
        layout.fleet_certificate.read_bytes(),
        layout.fleet_key.read_bytes(),
        layout.fleet_authority.read_text(),
    )


def context_of(
    authority: tuple[str, str], trusted: str, *roles: HostRole, id: str = "somebody"
) -> ssl.SSLContext:
    key, request = certificates.new_request()
    names = fleet_certificates.names_of_host(id, "127.0.1.9", roles)
    issued = fleet_certificates.sign(*authority, request, names)
    return fleet_tls.client_context(issued.encode(), key.encode(), trusted)


def test_only_a_host_with_the_role_api_gets_answers(hosts: Fleet, asking: Any) -> None:
    layout, ask = asking
    assert ask(own_context(layout)).process.resident_bytes
    authority = asyncio.run(hosts.authority())
    trusted = layout.fleet_authority.read_text()
    assert ask(context_of(authority, trusted, HostRole.API)).process.resident_bytes
    for roles in ((HostRole.DATABASE,), (HostRole.DATABASE, HostRole.STORE), ()):
        with pytest.raises(Unavailable, match="Only a host with the role api may ask"):
            ask(context_of(authority, trusted, *roles))


def test_a_host_that_was_removed_gets_no_answers_any_more(hosts: Fleet, asking: Any) -> None:
    layout, ask = asking
    context = context_of(
        asyncio.run(hosts.authority()), layout.fleet_authority.read_text(), HostRole.API, id="left"
    )
    assert ask(context).process.resident_bytes
    asyncio.run(marked_removed(hosts, "left"))

    def is_refused() -> bool:
        try:
            ask(context)
        except Unavailable as error:
            return "This host was removed, and may not ask" in str(error)
        return False

    wait_until("it is refused", 10, is_refused)
    assert ask(own_context(layout)).process.resident_bytes


async def marked_removed(hosts: Fleet, id: str) -> None:
    assert hosts.outside is not None
    client = hosts.outside.client()
    mark = put(
        Keys(EtcdSettings().prefix).removed_host(id), encode(RemovedHost(name=id, at=datetime.now(UTC)))
    )
    await client.transact(TransactionRequest([], [mark], []))
    await client.close()


def test_who_is_not_of_the_fleet_gets_no_answer(asking: Any) -> None:
    layout, ask = asking
    trusted = layout.fleet_authority.read_text()
    strange = fleet_certificates.new_authority()
    with pytest.raises(Unavailable, match="does not answer"):
        ask(context_of(strange, trusted, HostRole.API))
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(cadata=trusted)
    with pytest.raises(Unavailable, match="does not answer"):
        ask(bare)


def test_no_other_host_is_taken_for_the_one_that_is_asked(asking: Any) -> None:
    layout, ask = asking
    with pytest.raises(Unavailable, match="does not answer"):
        ask(own_context(layout), "another")


def test_the_port_of_the_agent_is_open_at_the_hosts_address_alone(hosts: Fleet) -> None:
    for host in hosts.hosts:
        agent = host.child("agent")
        port = FleetPorts.of(host.fleet_port).agent
        lines = Path(f"/proc/{agent}/net/tcp").read_text().splitlines()
        listening = [line.split()[1] for line in lines if f":{port:04X} 00000000:0000 0A" in line]
        assert len(listening) == 1
        assert listening[0].startswith(f"{host.number:02X}01007F")
