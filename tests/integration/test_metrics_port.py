"""The metrics port of a cluster: authentication, trusted sources, TLS, and its life with the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace

from cenote.host import processes, system
from cenote.http.tls_listener import MAX_CONNECTIONS
from cenote.model.paths import FIRST_NODE, Layout
from cenote.model.records import Cluster
from cenote.security.throttle import MAX_FAILURES
from cenote.store import Store
from cenote_client import Client
from tests.support.scraping import Scraper, value
from tests.support.service import SMALLEST, Service, online, online_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.service("--requests-per-minute=0")]

HERE = [{"type": "ip_addr", "value": "127.0.0.0/8"}, {"type": "ip_addr", "value": "::1"}]
ELSEWHERE = [{"type": "ip_addr", "value": "192.0.2.0/24"}]


@pytest.fixture
def scraper(client: Client, cluster: Any) -> Scraper:
    return Scraper(client, cluster)


def allow(client: Client, cluster: Any, rules: Any) -> None:
    client.request("PUT", f"/v2/databases/{cluster['id']}/firewall", json={"rules": rules})


def test_credentials_are_required_by_basic_authentication(scraper: Scraper) -> None:
    name, password = scraper.login
    for auth in (("", ""), (name, "wrong"), ("wrong", password)):
        answer = scraper.get(auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "cenote_" not in answer.text
    assert httpx.get(scraper.url, verify=scraper.context).status_code == 401
    assert scraper.get().status_code == 200


def test_an_address_with_failed_logins_is_throttled_and_others_are_not(
    running: Service, scraper: Scraper
) -> None:
    transport = httpx.HTTPTransport(verify=scraper.context, local_address="127.0.0.2")
    with httpx.Client(transport=transport, timeout=30) as elsewhere:
        for number in range(MAX_FAILURES):
            assert (
                elsewhere.get(scraper.url).status_code == 401
            )  # a request without credentials is no failed login
            wrong = (scraper.login[0], f"guess-{number}")
            assert elsewhere.get(scraper.url, auth=wrong).status_code == 401
        for auth in (wrong, scraper.login):
            answer = elsewhere.get(scraper.url, auth=auth)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert scraper.get().status_code == 200
    assert running.log().count("too many failed logins for metrics from 127.0.0.2") == 1


def test_replaced_credentials_are_valid_at_once_and_the_old_ones_invalid(
    client: Client, scraper: Scraper
) -> None:
    before = client.request("GET", "/v2/databases/metrics/credentials")
    wanted = {"basic_auth_username": "prometheus", "basic_auth_password": "correct-horse"}
    client.request("PUT", "/v2/databases/metrics/credentials", json={"credentials": wanted})
    try:
        assert scraper.get().status_code == 401
        assert scraper.get(auth=tuple(wanted.values())).status_code == 200
    finally:
        client.request("PUT", "/v2/databases/metrics/credentials", json=before)
    assert scraper.get().status_code == 200


def test_there_is_one_read_only_page(scraper: Scraper) -> None:
    assert scraper.get("HEAD").content == b""
    assert scraper.get("POST").status_code == 405
    for path in ("/", "/metrics/", "/v2/databases"):
        assert scraper.get(url=scraper.url.replace("/metrics", path)).status_code == 404
    assert scraper.get().headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_the_port_has_the_certificate_of_its_cluster_and_requires_tls(
    client: Client, cluster: Any, scraper: Scraper
) -> None:
    other = online_cluster(client, "other")
    try:
        elsewhere = Scraper(client, other)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            elsewhere.get(url=scraper.url)
        assert value(elsewhere.samples(), "cenote_cluster_info", cluster="other") == 1
        assert value(scraper.samples(), "cenote_cluster_info", cluster="backend") == 1
        with pytest.raises(httpx.TransportError):
            httpx.get(scraper.url.replace("https", "http"))
    finally:
        client.request("DELETE", f"/v2/databases/{other['id']}")


def test_the_trusted_sources_of_the_cluster_apply(client: Client, cluster: Any, scraper: Scraper) -> None:
    with scraper.http() as http:
        assert http.get(scraper.url).status_code == 200
        for rules, admitted in ((HERE, True), (ELSEWHERE, False), ([], True)):
            allow(client, cluster, rules)
            assert scraper.answers() is admitted
        allow(client, cluster, HERE)
        assert http.get(scraper.url).status_code == 200
        allow(client, cluster, ELSEWHERE)
        with contextlib.suppress(httpx.TransportError):
            assert http.get(scraper.url).status_code == 403  # on a connection that was open already
    allow(client, cluster, [])


@pytest.mark.parametrize(
    ("which", "gone", "there"),
    [
        ("pgbouncer", "cenote_pooler_up", "cenote_server_up"),
        ("postgresql", "cenote_server_up", "cenote_pooler_up"),
    ],
)
def test_when_one_of_the_two_servers_hangs_the_metrics_of_the_other_are_read(
    running: Service, client: Client, which: str, gone: str, there: str
) -> None:
    cluster = online_cluster(client, f"hung-{which}")
    scraper = Scraper(client, cluster)
    node = Layout(running.data_dir).node(UUID(cluster["id"]), FIRST_NODE)
    program = node.server(Path()) if which == "postgresql" else node.cluster.bouncer(Path("pgbouncer"))
    process = processes.find(program)
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as threads:  # nor do several scrapers get in each other's way
            pages = list(threads.map(lambda _: scraper.samples(), range(3)))
        assert {(value(found, gone), value(found, there)) for found in pages} == {(0, 1)}
    finally:
        os.kill(process.pid, signal.SIGCONT)

    def both() -> bool:
        found = scraper.samples()
        return value(found, gone) == value(found, there) == 1

    wait_until("both answer again", 60, both)
    client.request("DELETE", f"/v2/databases/{cluster['id']}")


def test_the_port_of_a_deleted_cluster_is_closed_and_free_again(client: Client) -> None:
    cluster = online_cluster(client, "short-lived")
    scraper = Scraper(client, cluster)
    with scraper.http() as http:
        assert http.get(scraper.url).status_code == 200
        client.request("DELETE", f"/v2/databases/{cluster['id']}")

        def refused() -> bool:  # on a connection that was open, too
            try:
                return http.get(scraper.url).status_code == 404
            except httpx.TransportError:
                return True

        wait_until("the connection is of no use", 20, refused)
    wait_until("nobody listens", 20, lambda: scraper.port not in system.listening_ports())

    # As long as it can be undeleted, other clusters get other ports.
    client.request("DELETE", f"/v2/cenote/deleted/{cluster['id']}")

    def given_again() -> bool:  # the claim goes when the servers have ended
        body = SMALLEST | {"name": "next"}
        following = client.request("POST", "/v2/databases", json=body)["database"]
        client.request("DELETE", f"/v2/databases/{following['id']}")
        client.request("DELETE", f"/v2/cenote/deleted/{following['id']}")
        return bool(following["metrics_endpoints"][0]["port"] == scraper.port)

    wait_until("another cluster gets the port", 20, given_again)


def test_credentials_and_port_survive_a_restart_of_the_service(
    running: Service, client: Client, scraper: Scraper
) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        running.end(how)
        assert not scraper.answers()
        running.start()
        wait_until("the metrics are there", 20, scraper.answers)


def test_a_cluster_recorded_without_a_metrics_port_gets_one(
    running: Service, client: Client, cluster: Any
) -> None:
    running.end()
    asyncio.run(forget_metrics_port(running, UUID(cluster["id"])))
    running.start()

    def port() -> Any:
        return client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["metrics_endpoints"]

    [endpoint] = wait_until("it has a port", 20, port)
    assert running.first_port <= endpoint["port"] < running.api_port
    online(client, cluster["id"])
    scraper = Scraper(client, cluster)
    wait_until("the metrics are there", 20, scraper.answers)


def test_a_port_taken_by_another_program_is_opened_once_it_is_free(
    running: Service, client: Client, cluster: Any
) -> None:
    scraper = Scraper(client, cluster)
    running.end()
    with socket.create_server(("127.0.0.1", scraper.port)):
        running.start()
        wait_until("the log tells of it", 20, lambda: f"port {scraper.port}: Address" in running.log())
    wait_until("the metrics are there", 20, scraper.answers)


def test_a_renewed_certificate_is_used_for_the_next_client(
    client: Client, cluster: Any, scraper: Scraper
) -> None:
    path = f"/v2/databases/{cluster['id']}/do_settings"
    assert "db.example.com" not in names_shown(scraper)
    client.request("PUT", path, json={"do_settings": {"service_cnames": ["db.example.com"]}})
    assert "db.example.com" in names_shown(scraper)
    client.request("PUT", path, json={"do_settings": {"service_cnames": []}})


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_silent_connections_block_neither_the_api_nor_other_clusters(
    client: Client, scraper: Scraper, tls: bool
) -> None:
    other = online_cluster(client, "undisturbed")
    with ExitStack() as stack:

        def crowded() -> bool:  # by more than one batch, where they come so slowly that the first are cut off
            for _ in range(MAX_CONNECTIONS):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", scraper.port)))
                if tls:
                    with contextlib.suppress(OSError):  # there is no room for it
                        wrapped = scraper.context.wrap_socket(connection, server_hostname="localhost")
                        stack.enter_context(wrapped)
            return not scraper.answers()

        wait_until("there is no room for more", 60, crowded)
        assert Scraper(client, other).answers()
    wait_until("there is room again", 30, scraper.answers)
    client.request("DELETE", f"/v2/databases/{other['id']}")


def test_the_log_has_no_error_after_all_of_this(running: Service) -> None:
    """The last of the file, so that it has something to look at."""
    for word in ("Traceback", "never retrieved", "a defect in Cenote"):
        assert word not in running.log()


def names_shown(scraper: Scraper) -> set[str]:
    with (
        socket.create_connection(("127.0.0.1", scraper.port), timeout=20) as plain,
        scraper.context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        certificate = connection.getpeercert()
    assert certificate is not None
    names = cast(tuple[tuple[str, str], ...], certificate["subjectAltName"])
    return {name for _, name in names}


async def forget_metrics_port(running: Service, id: UUID) -> None:
    """Make a record what it was before there were metrics; etcd goes on without the service."""

    def change(cluster: Cluster) -> Cluster:
        return replace(cluster, nodes=tuple(replace(node, metrics_port=0) for node in cluster.nodes))

    async with running.etcd_client() as gateway:
        store = Store(gateway)
        await store.open()
        try:
            await store.update_cluster(id, change)
        finally:
            await store.close()
