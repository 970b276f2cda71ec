"""What is seen of a cluster with two nodes and a read replica: logs, metrics, console, commands."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from cenote_client import Client, InvalidError, NotFoundError
from tests.support.console import Visitor, base_of
from tests.support.scraping import Scraper, value
from tests.support.service import WITHOUT_LIMITS, Service, added_pool, answer_of
from tests.support.several_nodes import several
from tests.support.waiting import wait_until

SECONDS = 60
pytestmark = pytest.mark.service("--log-sink-allow=127.0.0.1/32", *WITHOUT_LIMITS)


@pytest.fixture(scope="module")
def pair(client: Client) -> Any:
    """A cluster of two nodes, which share the host and its pooler."""
    made = several(client, "pair", 2)
    added_pool(client, made["id"], "web", size=4)
    return made


@contextmanager
def syslog() -> Iterator[tuple[int, bytearray]]:
    """A peer that takes all that is sent; yields its port, and what it got."""
    got = bytearray()
    listener = socket.create_server(("127.0.0.1", 0))

    def read(connection: socket.socket) -> None:
        with connection:
            while piece := connection.recv(2**16):
                got.extend(piece)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=read, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], got
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_the_logs_of_all_nodes_are_read_and_sent_and_each_line_names_its_node(
    running: Service, client: Client, pair: Any
) -> None:
    for node in ("node-1", "node-2"):
        page = client.databases.get_logs(pair["id"], node=node)["logs"]
        assert (page["node"], bool(page["messages"])) == (node, True)
    with pytest.raises(InvalidError, match="node: 'node-9' is not one of node-1, node-2"):
        client.databases.get_logs(pair["id"], node="node-9")
    lines = running.cenote("cluster", "logs", "pair", "--lines", "1000").splitlines()
    assert {line.split()[0] for line in lines if line.startswith("node-")} == {"node-1", "node-2"}
    only = running.cenote("cluster", "logs", "pair", "--node", "node-2", "-o", "json")
    assert '"node-1"' not in only
    assert "started streaming WAL" in only
    of_pooler = running.cenote("cluster", "logs", "pair", "--source", "pgbouncer")
    assert not of_pooler.startswith("node-"), "they share it"
    with syslog() as (port, got):
        config = {"server": "127.0.0.1", "port": port, "tls": False, "format": "rfc5424"}
        body: Any = {"sink_name": "all", "sink_type": "rsyslog", "config": config}
        sink = client.databases.create_logsink(pair["id"], body)["sink"]["sink_id"]
        for name in ("connection", "standby_connection"):
            uri = pair[name]["uri"].replace("/defaultdb", f"/missing-{name.partition('_')[0]}")
            with pytest.raises(psycopg.OperationalError, match="does not exist"):
                answer_of(uri)
        client.databases.update_connection_pool(
            pair["id"], "web", {"size": 3, "mode": "transaction", "db": "defaultdb", "user": "doadmin"}
        )

        def found(text: str, node: str) -> bool:
            return re.search(f'node="{node}"\\][^<]*{text}'.encode(), bytes(got)) is not None

        wait_until("the primary's log comes", SECONDS, lambda: found("missing-connection", "node-1"))
        wait_until("the standby's log comes", SECONDS, lambda: found("missing-standby", "node-2"))
        wait_until("the pooler's log comes", SECONDS, lambda: found("RELOAD command issued", "node-1"))
        assert not found("RELOAD command issued", "node-2")
        state: Any = client.databases.get_logsink(pair["id"], sink)
        assert state["cenote"]["state"] in ("delivering", "starting")
        client.databases.delete_logsink(pair["id"], sink)


def test_the_metrics_of_a_host_are_of_all_its_nodes(client: Client, pair: Any) -> None:
    wait_until(
        "the endpoint has a port",
        SECONDS,
        lambda: client.request("GET", f"/v2/databases/{pair['id']}")["database"]["metrics_endpoints"],
    )
    found = Scraper(client, pair).samples()
    assert value(found, "cenote_node_primary", node="node-1") == 1
    assert value(found, "cenote_node_primary", node="node-2") == 0
    assert value(found, "cenote_standbys_missing", node="node-1") == 0
    assert value(found, "cenote_quorum_standbys", node="node-1") == 1
    assert value(found, "cenote_standby_lag_bytes", node="node-2") >= 0
    for node in ("node-1", "node-2"):
        assert value(found, "cenote_server_up", node=node) == 1
        assert value(found, "cenote_server_timeline", node=node) >= 1
    assert len(found["cenote_pooler_up"]) == 1, "the nodes share it"
    stats = client.databases.get_pool_stats(pair["id"], "web")
    assert stats["stats"]["poolers"] == 1
    assert "not_counted" not in stats


def test_a_replica_is_made_used_promoted_and_deleted_by_commands(
    running: Service, client: Client, pair: Any
) -> None:
    running.cenote("replica", "create", "pair", "reports", "--region", "fra1", "--tag", "reads")
    assert "reports" in running.cenote("replica", "list", "pair")
    replica = client.databases.get_replica(pair["id"], "reports")["replica"]
    assert (replica["status"], replica["region"], replica["tags"]) == ("online", "fra1", ["reads"])
    running.cenote("pool", "create", "pair/reports", "reading", "--size", "2")
    uri = running.cenote("uri", "pair/reports", "--pool", "reading").strip()
    assert answer_of(uri, "SELECT pg_is_in_recovery()") is True
    found = Scraper(client, replica).samples()
    assert value(found, "cenote_replica_streaming") == 1
    assert value(found, "cenote_replica_lag_bytes") >= 0
    running.cenote("replica", "resize", "pair", "reports", "db-s-1vcpu-2gb")
    assert client.databases.get_replica(pair["id"], "reports")["replica"]["size"] == "db-s-1vcpu-2gb"
    refused = running.run("replica", "get", "pair", "missing")
    assert refused.returncode == 1
    assert "list replicas with 'cenote replica list pair'" in refused.stderr
    refused = running.run("pool", "list", "pair/missing")
    assert "replica 'missing' not found" in refused.stderr
    running.cenote("replica", "promote", "pair", "reports", "--yes")
    with pytest.raises(NotFoundError):
        client.databases.get_replica(pair["id"], "reports")
    assert answer_of(uri, "SELECT pg_is_in_recovery()") is False
    running.cenote("cluster", "delete", "reports", "--purge", "--yes")
    running.cenote("replica", "create", "pair", "short-lived", "--no-wait")
    running.cenote("replica", "delete", "pair", "short-lived", "--yes")
    assert client.databases.list_replicas(pair["id"])["replicas"] == []


def test_the_console_shows_nodes_and_replicas_and_changes_them(
    running: Service, client: Client, pair: Any, somebody: Visitor
) -> None:
    page = somebody.open(f"{base_of(pair)}/nodes")
    for words in ("node-1", "primary", "node-2", "standby", "commits wait for it", "No read replicas."):
        assert words in page.text, words
    log = somebody.open(f"{base_of(pair)}/activity?node=node-2")
    assert "started streaming WAL" in log.text
    assert "node-2" in somebody.open(base_of(pair)).text

    def primary() -> str:
        nodes = client.request("GET", f"/v2/databases/{pair['id']}")["database"]["cenote"]["nodes"]
        return next((str(one["name"]) for one in nodes if one["role"] == "primary"), "")

    before = primary()
    other = "node-2" if before == "node-1" else "node-1"
    switched = somebody.send(page, f"Make primary: {other}")
    assert switched.path == f"{base_of(pair)}/nodes"
    wait_until("the other node takes writes", SECONDS, lambda: primary() == other)

    refused = somebody.send(switched, "Add replica", 422, name="Not good")
    assert "a cluster's name consists of lowercase letters" in refused.text
    added = somebody.send(refused, "Add replica", name="seen", region="ams3")
    assert "Read replica seen is being made." in added.text
    replica: Any = client.databases.get_replica(pair["id"], "seen")["replica"]
    client.databases.wait_until_online(replica["id"], timeout=SECONDS)
    shown = somebody.open(f"{base_of(pair)}/nodes")
    assert "ams3" in shown.text
    assert f'href="/console/clusters/{replica["id"]}/pools"' in shown.answer.text
    assert "It follows pair" in somebody.open(f"{base_of(replica)}/nodes").text
    of_replica = somebody.open(base_of(replica))
    assert "it takes no writes" in of_replica.text
    assert f'{base_of(replica)}/backups"' not in of_replica.source
    for tab in ("/connect", "/pools", "/users", "/sources", "/config", "/activity", "/settings"):
        somebody.open(base_of(replica) + tab)
    asked = somebody.open(f"{base_of(pair)}/nodes/replicas/seen/promote")
    assert "It follows pair no more." in asked.text
    asked = somebody.open(f"{base_of(pair)}/nodes/replicas/seen/delete")
    assert "Read replica seen deleted." in somebody.send(asked, "Delete read replica").text

    fewer = somebody.send(somebody.open(f"{base_of(pair)}/nodes"), "Remove a node")
    assert "The cluster gets 1 node." in fewer.text
    wait_until(
        "one node is left",
        SECONDS,
        lambda: client.request("GET", f"/v2/databases/{pair['id']}")["database"]["num_nodes"] == 1,
    )
