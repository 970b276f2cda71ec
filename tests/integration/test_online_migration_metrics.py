"""The metrics of an online migration: its status, what is copied, and for how long changes are not here."""

from __future__ import annotations

from typing import Any

from cenote.metrics import migration_metrics
from cenote.model.migrations import MigrationStatus
from tests.support.delaying_relay import DelayingRelay
from tests.support.migrating import Migration
from tests.support.plain_postgres import plain_postgres
from tests.support.scraping import Samples, Scraper, value
from tests.support.service import online_cluster, service
from tests.support.waiting import wait_until

PREFIX = "cenote_online_migration"
BEHIND_SECONDS = 8


def status_of(found: Samples) -> set[str]:
    """Return the statuses that are told; one is."""
    return {dict(labels)["status"] for labels, number in found[PREFIX].items() if number == 1}


def number(scraper: Scraper, name: str) -> float:
    return value(scraper.samples(), f"{PREFIX}_{name}", database="shop")


def test_a_migration_is_told_in_metrics_and_so_is_a_source_that_is_away() -> None:
    with plain_postgres() as source, service(clusters=2) as running, running.client() as client:
        source.run("CREATE DATABASE shop")
        source.run("CREATE TABLE goods (id int PRIMARY KEY, label text)", "shop")
        source.run("INSERT INTO goods SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n", "shop")
        cluster: Any = online_cluster(client, "target")
        scraper, migration = Scraper(client, cluster), Migration(client, cluster["id"])
        assert not [name for name in scraper.samples() if name.startswith(PREFIX)]
        relay = DelayingRelay(source.port)
        try:
            migration.start(source, port=relay.port)
            migration.reaches("syncing")
            wait_until("all is here", 60, lambda: scraper.samples().get(f"{PREFIX}_lag_bytes") is not None)
            wait_until("nothing lags", 60, lambda: number(scraper, "lag_seconds") < BEHIND_SECONDS)
            found = scraper.samples()
            assert {name for name in found if name.startswith(PREFIX)} == {
                family.name for family in migration_metrics.FAMILIES
            }
            assert len(found[PREFIX]) == len(MigrationStatus)
            assert status_of(found) == {"syncing"}
            assert value(found, f"{PREFIX}_in_trouble") == 0
            wait_until("it is all copied", 60, lambda: number(scraper, "copied_bytes") > 20_000 * 500)
            assert number(scraper, "source_bytes") > 20_000 * 500
        finally:
            relay.close()
        wait_until("it lags", 60, lambda: number(scraper, "lag_seconds") > BEHIND_SECONDS)
        assert value(scraper.samples(), f"{PREFIX}_in_trouble") == 1
        assert not scraper.samples().get(f"{PREFIX}_lag_bytes")
        shown = migration.now()["cenote"]["databases"]
        assert shown[0]["lag_bytes"] is None
        assert shown[0]["lag_seconds"] > BEHIND_SECONDS
        migration.stop(discard=True)
        wait_until("it is canceled", 120, lambda: status_of(scraper.samples()) == {"canceled"})
        assert {name for name in scraper.samples() if name.startswith(PREFIX)} == {PREFIX}
