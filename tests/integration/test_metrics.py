"""The metrics of a cluster, scraped from the real service."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from cenote.metrics import cluster_metrics, migration_metrics
from cenote_client import Client
from tests.support.scraping import Samples, Scraper, value
from tests.support.service import added_pool, online_cluster
from tests.support.waiting import wait_until

POOL = "backend-pool"
HOST = socket.gethostname()


@pytest.fixture(scope="module")
def cluster(client: Client) -> Any:
    cluster = online_cluster(client, "backend")
    return cluster | {"pool": added_pool(client, cluster["id"], POOL)}


@pytest.fixture(scope="module")
def scraper(client: Client, cluster: Any) -> Scraper:
    return Scraper(client, cluster)


def database(samples: Samples, name: str) -> float:
    return value(samples, f"cenote_database_{name}", database="defaultdb")


def test_exactly_the_declared_metrics_are_exposed(scraper: Scraper, cluster: Any) -> None:
    slot = "SELECT pg_create_physical_replication_slot('kept', true)"
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        connection.execute(slot)
        try:
            found = scraper.samples()
        finally:
            connection.execute("SELECT pg_drop_replication_slot('kept')")
    of_several = {"cenote_node_primary", "cenote_standbys_missing", "cenote_pools_held_seconds"}
    of_several |= {"cenote_standby_lag_bytes", "cenote_standby_lag_seconds", "cenote_quorum_standbys"}
    of_several |= {family.name for family in cluster_metrics.FAMILIES if "_replica_" in family.name}
    others = {"cenote_major_upgrade", *(family.name for family in migration_metrics.FAMILIES)}
    assert found.keys() == {family.name for family in cluster_metrics.FAMILIES} - of_several - others
    for labelled in found.values():
        for labels in map(dict, labelled):
            assert (labels["cluster"], labels["node"]) == ("backend", "node-1")
            assert labels["host"] == HOST
    assert value(found, "cenote_server_replication_slot_active", slot="kept") == 0


def test_the_cluster_is_described_by_its_labels_and_storage(scraper: Scraper, cluster: Any) -> None:
    [labels] = scraper.samples()["cenote_cluster_info"]
    assert dict(labels) == {
        "cluster": "backend",
        "host": HOST,
        "node": "node-1",
        "id": cluster["id"],
        "version": cluster["semantic_version"],
        "size": cluster["size"],
        "region": cluster["region"],
    }
    found = scraper.samples()
    assert value(found, "cenote_cluster_failing") == 0
    assert value(found, "cenote_storage_size_bytes") == cluster["storage_size_mib"] * 2**20
    assert 0 < value(found, "cenote_storage_used_bytes") < value(found, "cenote_storage_size_bytes")
    expiry = value(found, "cenote_cluster_certificate_expiry_timestamp_seconds")
    assert expiry > value(found, "cenote_server_start_time_seconds")


def test_work_on_a_database_is_counted(scraper: Scraper, cluster: Any) -> None:
    before = scraper.samples()
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        connection.execute("CREATE TABLE counted (n int)")
        connection.execute("INSERT INTO counted SELECT generate_series(1, 1000)")
        connection.execute("UPDATE counted SET n = 0 WHERE n < 11")
        connection.execute("DELETE FROM counted WHERE n = 0")
        connection.execute("BEGIN")
        connection.execute("ROLLBACK")
    grown = {
        "rows_inserted_total": 1000,
        "rows_updated_total": 10,
        "rows_deleted_total": 10,
        "commits_total": 4,
        "rollbacks_total": 1,
        "blocks_hit_total": 1,
    }

    def counted() -> bool:  # a session reports its statistics when it ends, a moment later
        after = scraper.samples()
        return all(database(after, name) >= database(before, name) + more for name, more in grown.items())

    wait_until("the work is counted", 20, counted)
    assert database(scraper.samples(), "size_bytes") > 2**20
    wal = "cenote_server_wal_bytes_total"
    assert value(scraper.samples(), wal) > value(before, wal)


def test_connections_open_transactions_and_lock_waits_are_counted(scraper: Scraper, cluster: Any) -> None:
    uri = cluster["connection"]["uri"]
    with ExitStack() as stack:
        holder, other = (psycopg.connect(uri) for _ in range(2))
        stack.callback(holder.close)
        stack.callback(other.close)
        holder.execute("SELECT pg_advisory_lock(1)")
        other.pgconn.send_query(b"SELECT pg_advisory_lock(1)")
        other.pgconn.flush()

        def seen() -> Samples | None:
            found = scraper.samples()
            return found if value(found, "cenote_server_connections_waiting_for_locks") == 1 else None

        found = wait_until("one waits for a lock", 20, seen)
        assert found
        assert value(found, "cenote_server_connections", state="idle in transaction") == 1
        assert value(found, "cenote_server_connections", state="active") == 1
        assert value(found, "cenote_server_longest_transaction_seconds") > 0
        assert value(found, "cenote_server_connections_allowed") == 25 - 3

    def alone() -> bool:
        return value(scraper.samples(), "cenote_server_connections_waiting_for_locks") == 0

    wait_until("no client waits", 20, alone)


def test_the_clients_of_a_pool_and_their_waits_are_counted(scraper: Scraper, cluster: Any) -> None:
    uri = cluster["pool"]["connection"]["uri"]
    with ExitStack() as stack:
        for _ in range(2):  # the size of the pool
            stack.enter_context(psycopg.connect(uri, autocommit=True)).execute("BEGIN")
        waiting = psycopg.connect(uri, autocommit=True)
        stack.callback(waiting.close)
        waiting.pgconn.send_query(b"SELECT 1")
        waiting.pgconn.flush()

        def seen() -> Samples | None:
            found = scraper.samples()
            waits = value(found, "cenote_pool_longest_wait_seconds", pool=POOL) > 0
            return found if waits else None

        found = wait_until("a client waits", 20, seen)
        assert found
        assert value(found, "cenote_pool_clients", pool=POOL, state="active") == 2
        assert value(found, "cenote_pool_clients", pool=POOL, state="waiting") == 1
        assert value(found, "cenote_pool_servers", pool=POOL, state="active") == 2
        assert value(found, "cenote_pool_size", pool=POOL) == 2
        assert value(found, "cenote_pooler_servers_allowed") == 22

    def counted() -> bool:
        found = scraper.samples()
        fields = ("transactions", "queries", "transaction_seconds", "wait_seconds", "received_bytes")
        return all(value(found, f"cenote_pool_{field}_total", pool=POOL) > 0 for field in fields)

    wait_until("it is counted", 20, counted)


def test_a_database_name_with_special_characters_is_escaped(scraper: Scraper, cluster: Any) -> None:
    name = 'a"b\\c\n{d}, é'
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        quoted = psycopg.sql.Identifier(name)
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(quoted))
        try:
            assert value(scraper.samples(), "cenote_database_connections", database=name) == 0
        finally:
            connection.execute(psycopg.sql.SQL("DROP DATABASE {}").format(quoted))


def test_cenotes_own_database_and_connections_are_left_out(scraper: Scraper) -> None:
    named = {dict(labels)["database"] for labels in scraper.samples()["cenote_database_connections"]}
    assert named == {"defaultdb"}

    def all_are_of_pools() -> bool:  # connections of earlier tests may take a moment to close
        found = scraper.samples()
        clients = sum(found.get("cenote_server_connections", {}).values())
        return clients == sum(found["cenote_pool_servers"].values())

    wait_until("all connections are of pools", 20, all_are_of_pools)
