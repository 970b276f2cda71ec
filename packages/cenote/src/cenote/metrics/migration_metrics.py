"""The metrics of online migrations, of clusters that another server's databases were migrated into.

They are told of the node that takes writes: its agent does the work.
"""

from __future__ import annotations

from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.migrations import MigrationStatus
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import online_migrations


def _gauge(name: str, help: str, *labels: str) -> Family:
    return Family(f"cenote_online_migration{name}", Kind.GAUGE, help, labels)


STATUS = _gauge(
    "",
    "Status of the last online migration into the cluster: 1 for what it is, 0 for each other one.",
    "status",
)
IN_TROUBLE = _gauge(
    "_in_trouble", "Whether the migration waits for something, or tries again what has failed."
)
SOURCE = _gauge("_source_bytes", "Size of a database on the source when its copy began.", "database")
COPIED = _gauge(
    "_copied_bytes", "Size of what is here of a database, with its indexes, as last reported.", "database"
)
LAG_BYTES = _gauge(
    "_lag_bytes", "Write-ahead log of the source that a database has not received yet.", "database"
)
LAG_SECONDS = _gauge(
    "_lag_seconds",
    "Time since a database had all that its source had; 0 if it lacks nothing.",
    "database",
)
FAMILIES = (STATUS, IN_TROUBLE, SOURCE, COPIED, LAG_BYTES, LAG_SECONDS)


def add(page: Page, cluster: Cluster, seen: NodeStatus | None) -> None:
    """Add what is known of the last migration into a cluster, if there was one."""
    migration = cluster.online_migration
    if migration is None:
        return
    report = online_migrations.report(migration, seen)
    for status in MigrationStatus:
        page.add(STATUS, report.status is status, status=status)
    if report.is_over:
        return
    page.add(IN_TROUBLE, bool(report.reason))
    for one in report.databases:
        page.add(SOURCE, one.bytes, database=one.name)
        page.add(COPIED, one.copied_bytes, database=one.name)
        page.add(LAG_BYTES, one.lag_bytes, database=one.name)
        page.add(LAG_SECONDS, one.lag_seconds, database=one.name)
