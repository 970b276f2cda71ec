"""Read replicas with real servers: what they show, what they outlive, and what becomes of them."""

from __future__ import annotations

import os
import signal
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.replicas import SECONDS, added, following, has_row, promoted, write
from tests.support.service import Service, added_pool, online, online_cluster, tried
from tests.support.several_nodes import may_take_over, server, settled, writer
from tests.support.waiting import wait_until

SENDERS = "SELECT array_agg(pid || application_name) FROM pg_stat_replication"
SLOTS = "SELECT string_agg(slot_name || ' ' || active, ',') FROM pg_replication_slots"


@pytest.fixture(scope="module")
def source(client: Client) -> Any:
    return online_cluster(client, "source")


def as_superuser(running: Service, cluster: Any, query: LiteralString, port: int | None = None) -> Any:
    """Ask the server of a cluster, or of a replica, on its socket; port: of one of its nodes."""
    sockets = Layout(running.data_dir).cluster(UUID(cluster["id"])).sockets
    with psycopg.connect(
        host=str(sockets),
        port=port or cluster["connection"]["port"],
        user="postgres",
        dbname="postgres",
        autocommit=True,
    ) as connection:
        found = connection.execute(query)
        return None if found.description is None else (found.fetchone() or [None])[0]


def test_a_replica_serves_its_sources_users_read_only_whatever_its_source_trusts(
    running: Service, client: Client, source: Any
) -> None:
    path = f"/v2/databases/{source['id']}"
    write(source["connection"]["uri"], 1)
    replica = added(client, source, "reader")
    anna = client.request("POST", f"{path}/users", json={"name": "anna"})["user"]
    pool = added_pool(client, replica["id"], "reads", user="anna")
    uri = pool["connection"]["uri"]
    assert anna["password"] in uri
    wait_until("anna can log in", SECONDS, lambda: tried(uri, "SELECT current_user") == "anna")
    assert tried(uri, "SELECT pg_is_in_recovery()") is True
    assert has_row(replica["connection"]["uri"], 1)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        write(replica["connection"]["uri"], 2)
    assert replica["cenote"]["lag"]["bytes"] >= 0

    before = as_superuser(running, source, SENDERS)
    rules = {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]}
    client.request("PUT", f"{path}/firewall", json=rules)
    assert tried(source["connection"]["uri"]) is None
    assert tried(uri) == 42, "the replica has its own trusted sources"
    client.request("PATCH", f"{path}/config", json={"config": {"work_mem": 8}})  # another pass
    online(client, source["id"])
    assert as_superuser(running, source, SENDERS) == before, "nobody has put the replica out"
    client.request("PUT", f"{path}/firewall", json={"rules": []})

    client.request("DELETE", f"{path}/users/anna")
    wait_until("anna is locked out of the replica", SECONDS, lambda: tried(uri) is None)
    client.request("DELETE", f"{path}/replicas/reader")


def test_a_replica_gets_settings_that_its_source_has_more_of(
    running: Service, client: Client, source: Any
) -> None:
    replica = added(client, source, "worker")
    config = {"config": {"max_worker_processes": 24}}
    client.request("PATCH", f"/v2/databases/{source['id']}/config", json=config)
    online(client, source["id"])
    write(source["connection"]["uri"], 3)
    wait_until("it replays again", SECONDS, lambda: has_row(replica["connection"]["uri"], 3))
    following(client, source, "worker")
    assert as_superuser(running, replica, "SELECT current_setting('max_worker_processes')") == "24"
    client.request("DELETE", f"/v2/databases/{source['id']}/replicas/worker")


def test_a_replica_that_fell_too_far_behind_is_copied_anew(
    running: Service, client: Client, source: Any
) -> None:
    """The slot gives up, and not the disk of the source."""
    replica = added(client, source, "laggard")
    data = Layout(running.data_dir).node(UUID(replica["id"]), "node-1").data
    as_superuser(running, source, "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'")
    as_superuser(running, source, "SELECT pg_reload_conf()")
    frozen = [one.pid for one in processes.below(data)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(8):
            as_superuser(running, source, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1 << 20))")
            as_superuser(running, source, "SELECT pg_switch_wal()")
        as_superuser(running, source, "CHECKPOINT")
        lost = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'"
        wait_until("the slot gives up", SECONDS, lambda: as_superuser(running, source, lost))
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    as_superuser(running, source, "ALTER SYSTEM RESET max_slot_wal_keep_size")
    as_superuser(running, source, "SELECT pg_reload_conf()")
    write(source["connection"]["uri"], 4)
    wait_until("it has all again", SECONDS, lambda: has_row(replica["connection"]["uri"], 4))
    following(client, source, "laggard")
    slots, name = as_superuser(running, source, SLOTS), f"cenote_{UUID(replica['id']).hex}"
    assert f"{name}_2 true" in slots
    assert f"{name}_1" not in slots
    events = client.request("GET", f"/v2/databases/{replica['id']}/events")["events"]
    assert any("copies the data of its source anew" in one["cenote"]["summary"] for one in events)
    client.request("DELETE", f"/v2/databases/{source['id']}/replicas/laggard")


def test_a_replica_becomes_a_cluster_of_its_own_and_leaves_nothing_behind(
    running: Service, client: Client, source: Any
) -> None:
    path = f"/v2/databases/{source['id']}"
    replica = added(client, source, "heir")
    agent = running.child("agent")
    assert agent is not None
    client.request("PUT", f"{path}/replicas/heir/promote")
    os.kill(agent, signal.SIGKILL)  # whenever that is, it is promoted in the end
    own = promoted(client, replica["id"])
    assert "doadmin" in [one["name"] for one in own["users"]]
    assert own["connection"]["password"] == source["connection"]["password"]
    write(own["connection"]["uri"], 5)
    write(source["connection"]["uri"], 6)
    assert not has_row(source["connection"]["uri"], 5)
    assert not has_row(own["connection"]["uri"], 6)
    slot = f"cenote_{UUID(replica['id']).hex}_1"
    wait_until("its slot is gone", SECONDS, lambda: slot not in (as_superuser(running, source, SLOTS) or ""))
    client.request("POST", f"/v2/databases/{replica['id']}/users", json={"name": "berta"})
    second = added(client, own, "second")
    assert has_row(second["connection"]["uri"], 5)
    place = Layout(running.data_dir).cluster(UUID(second["id"]))
    client.request("DELETE", f"/v2/databases/{replica['id']}/replicas/second")
    wait_until("nothing of it is left", SECONDS, lambda: not place.root.exists())
    wait_until("no slot is left", SECONDS, lambda: as_superuser(running, own, SLOTS) is None)


def test_a_replica_follows_whichever_node_of_its_source_takes_writes(
    running: Service, client: Client
) -> None:
    """From one node to two, and on when the primary is killed: by the same slot, and the same copy."""
    pair = online_cluster(client, "pair")
    replica = added(client, pair, "tail")
    resize = {"size": pair["size"], "num_nodes": 2}
    client.request("PUT", f"/v2/databases/{pair['id']}/resize", json=resize)
    pair = settled(client, pair["id"])
    write(pair["connection"]["uri"], 1)
    wait_until("it follows a managed node", SECONDS, lambda: has_row(replica["connection"]["uri"], 1))
    first = wait_until("a node takes writes", SECONDS, lambda: writer(running, pair, 1, 2)) or 0
    victim = server(running, pair, first)
    assert victim is not None
    wait_until("another node may take over", SECONDS, lambda: may_take_over(running, pair))
    os.kill(victim.pid, signal.SIGKILL)
    wait_until("the other takes writes", SECONDS, lambda: writer(running, pair, 1, 2) not in (None, first))
    pair = settled(client, pair["id"])
    write(pair["connection"]["uri"], 2)
    wait_until("it follows the other one", SECONDS, lambda: has_row(replica["connection"]["uri"], 2))
    following(client, pair, "tail")
    slot = f"cenote_{UUID(replica['id']).hex}_1"
    for node in pair["cenote"]["nodes"]:
        found = as_superuser(running, pair, SLOTS, node["port"])
        assert slot in found, "all nodes keep it for the next failover"
    client.request("DELETE", f"/v2/databases/{pair['id']}/replicas/tail")

    def is_gone() -> bool:
        nodes = pair["cenote"]["nodes"]
        return all(slot not in (as_superuser(running, pair, SLOTS, one["port"]) or "") for one in nodes)

    wait_until("Patroni has dropped it on all nodes", SECONDS, is_gone)
