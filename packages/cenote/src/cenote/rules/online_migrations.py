"""Online migrations: what is refused, how far one is, and how it ends.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy, Conflict, Invalid, NotFound
from cenote.model.event_records import EventType, Note
from cenote.model.migrations import (
    DatabaseProgress,
    MigrationReport,
    MigrationSource,
    MigrationStatus,
    OnlineMigration,
    Wish,
)
from cenote.model.records import Cluster, ClusterStatus
from cenote.model.status_records import NodeStatus
from cenote.rules import host_names, sql_changes
from cenote.rules.names import quoted

MOST_IGNORED = 1000  # databases; the whole cluster is one record
_MOST_NAME = 63  # bytes, of what PostgreSQL takes
_NAME = f"a name has 1 to {_MOST_NAME} bytes, none of which is null"
PATIENCE = 600.0  # seconds for which a source may be away before its first copy is complete
_ATTEMPTS = 3  # of a program that has failed
_WAIT = "Wait until it is over, finish it or stop it."


class Patience:
    """How long a first copy has been in trouble, in seconds of a clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._failures = 0

    def is_over(self, began: float, now: float, *, of_program: bool) -> bool:
        """Return whether an attempt that has failed now is the last; ``of_program``: a program has failed.

        One that has worked for long before is the first of a new trouble.
        """
        if self._since is None or now - began > PATIENCE:
            self._since, self._failures = now, 0
        self._failures += of_program
        return self._failures >= _ATTEMPTS or now - self._since > PATIENCE


def check_source(host: str, port: int, dbname: str, username: str, password: str) -> None:
    """Raise Invalid for what names no server that can be reached over the network."""
    # No socket's folder, no list of hosts, nothing that libpq would read as more than a host.
    if not host_names.is_remote_host(host):
        raise Invalid(f"source.host: {quoted(host)} is neither a host name nor an IP address.")
    if not 1 <= port <= 65535:
        raise Invalid(f"source.port: {port} is not a port from 1 to 65535.")
    for field, text in (("dbname", dbname), ("username", username)):
        if not _is_name(text):
            raise Invalid(f"source.{field}: {_NAME}.")
    if "\0" in password or len(password) > 1000:
        raise Invalid("source.password: at most 1000 characters, without a null character.")


def check_ignored(names: Sequence[str]) -> None:
    """Raise Invalid for what no source has as the names of databases."""
    if len(names) > MOST_IGNORED:
        raise Invalid(f"ignore_dbs: at most {MOST_IGNORED} databases can be named.")
    if not all(map(_is_name, names)):
        raise Invalid(f"ignore_dbs: {_NAME}.")


def _is_name(text: str) -> bool:
    return bool(text) and "\0" not in text and len(text.encode()) <= _MOST_NAME


def check(cluster: Cluster, seen: NodeStatus | None, status: ClusterStatus) -> None:
    """Raise Busy or Conflict for a cluster that nothing can be migrated into now."""
    if active(cluster) is not None:
        raise Conflict("An online migration into this cluster is under way. Stop it first.")
    if cluster.major_upgrade is not None:
        raise Busy(f"The cluster is being upgraded to PostgreSQL {cluster.version}. Wait until that is over.")
    if cluster.move is not None:
        raise Busy("The cluster is being moved. Wait until that is over, or cancel it.")
    if cluster.restoration is not None or cluster.undeletion is not None:
        raise Busy("The cluster's data are being restored. Wait until that is over.")
    if status is not ClusterStatus.ONLINE or seen is None:
        raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")


def is_repeated(
    cluster: Cluster, source: MigrationSource, ignored: Sequence[str], *, full_identity: bool
) -> bool:
    """Return whether a migration is under way that was asked for in the same way, the password apart.

    Clients repeat a request whose answer they missed, and Terraform one that took longer than it waits.
    """
    migration = active(cluster)
    return (
        migration is not None
        and migration.wish is Wish.NONE
        and replace(migration.source, sealed_password=source.sealed_password) == source
        and frozenset(migration.ignored) == frozenset(ignored)
        and migration.full_identity == full_identity
    )


def check_none(cluster: Cluster) -> None:
    """Raise Busy while another server's databases are migrated into a cluster."""
    if active(cluster) is not None:
        raise Busy(f"An online migration into the cluster is under way. {_WAIT}")


def check_copy(cluster: Cluster, moment: datetime | None) -> None:
    """Raise Busy for a copy of a cluster as of a moment, None for now, with a migration in it that goes on.

    The copy would take changes from the source that the cluster waits for.
    """
    migration = active(cluster)
    if migration is not None and (moment is None or moment >= migration.asked_at):
        raise Busy(
            f"An online migration into {cluster.name} is under way. {_WAIT} Or fork it as of a moment before"
            f" {migration.asked_at:%Y-%m-%dT%H:%M:%SZ}."
        )


def given_up(cluster: Cluster) -> Cluster:
    """Return a cluster that gets the data of a former moment: a migration into it cannot go on from there."""
    migration = active(cluster)
    if migration is None:
        return cluster
    return replace(cluster, online_migration=replace(migration, wish=Wish.CANCEL))


def refuse(problems: Sequence[str]) -> None:
    """Raise Invalid that names all that is in the way of a migration, if anything is."""
    if problems:
        raise Invalid(f"The source cannot be migrated: {'; '.join(problems)}.")


def active(cluster: Cluster) -> OnlineMigration | None:
    """Return the migration that is not over; None without one."""
    migration = cluster.online_migration
    return None if migration is None or migration.is_over else migration


def closed_databases(cluster: Cluster) -> tuple[str, ...]:
    """Return the databases that customers may not enter: those that are being migrated."""
    migration = active(cluster)
    return () if migration is None or migration.opened else migration.databases


def are_listed(
    names: Collection[str], there: Collection[str], cluster: Cluster, seen: NodeStatus | None
) -> bool:
    """Return whether those of these databases that are there are listed, by the node's report, and no others.

    Of very many only the first are listed.  What the record has is listed even if SQL has dropped it.
    """
    found = sql_changes.of(seen)
    listed = {one.name for one in sql_changes.databases(cluster, found)}
    by_sql = {one.name for one in found.databases if one.listed}
    expected = set(names).intersection(there)
    if not by_sql.intersection(names) <= expected:
        return False
    return expected <= listed or len(listed) >= sql_changes.MAX_LISTED


def report(migration: OnlineMigration, seen: NodeStatus | None) -> MigrationReport:
    """Return what is known of a migration, by its outcome or by the writer's report."""
    if migration.outcome is not None:
        return migration.outcome
    if seen is not None and seen.migration is not None and seen.migration.id == migration.id:
        return seen.migration
    return MigrationReport(id=migration.id)


def begun(
    migration: OnlineMigration, node: str, statuses: Mapping[str, NodeStatus | None]
) -> MigrationReport:
    """Return the report that the agent of a node goes on with, from those of all nodes of the cluster.

    That is its own, unless a former writer says that all is there: what was done is noted nowhere else then.
    """
    found = {
        name: seen.migration
        for name, seen in statuses.items()
        if seen is not None and seen.migration is not None and seen.migration.id == migration.id
    }
    if ready := [one for one in found.values() if one.ready]:
        return ready[0]
    databases = tuple(DatabaseProgress(name=one) for one in migration.databases)
    return found.get(node, MigrationReport(id=migration.id, databases=databases))


def wished(cluster: Cluster, id: str, wish: Wish, seen: NodeStatus | None, now: datetime) -> Cluster:
    """Return the cluster with a wish how its migration is to end; NotFound for another id, Busy too early.

    A wish for less than what was wished already changes nothing; one that gives up counts always.
    """
    migration = cluster.online_migration
    if migration is None or str(migration.id) != id.lower():
        raise NotFound
    if migration.is_over:
        if wish is Wish.FINISH:
            raise Invalid(f"The online migration is over: it is {_outcome(migration).status}.")
        return cluster
    if wish is Wish.FINISH and report(migration, seen).status is not MigrationStatus.SYNCING:
        raise Busy("The first copy is not complete yet. The migration can be finished once it is syncing.")
    if migration.wish is wish or (migration.wish is not Wish.NONE and wish is not Wish.CANCEL):
        return cluster
    changed = replace(migration, wish=wish, wished_at=now)
    return replace(cluster, online_migration=changed)


def ended(cluster: Cluster, reports: Mapping[str, NodeStatus]) -> Cluster:
    """Return the cluster with the outcome of its migration, if that is over, else the same.

    The password of the source goes.  Before, the databases are opened once all is there.
    """
    migration = active(cluster)
    if migration is None or cluster.deleted_at is not None:
        return cluster
    for seen in reports.values():
        if seen.migration is None or seen.migration.id != migration.id:
            continue
        if seen.migration.ready and not (migration.opened or seen.migration.is_over):
            return replace(cluster, online_migration=replace(migration, opened=True))
        if seen.migration.is_over:
            source = replace(migration.source, sealed_password="")
            return replace(
                cluster, online_migration=replace(migration, source=source, outcome=seen.migration)
            )
    return cluster


def note_of_end(cluster: Cluster) -> Note | None:
    """Return what the event of a migration's end says; ``cluster`` is the one after."""
    migration = cluster.online_migration
    if migration is None or migration.outcome is None:
        return None
    status, reason = migration.outcome.status, migration.outcome.reason
    words = {
        MigrationStatus.DONE: "is done",
        MigrationStatus.CANCELED: "was canceled",
        MigrationStatus.ERROR: "has failed",
    }
    what = f"online migration from {migration.source.host} {words[status]}"
    return Note(what=f"{what}: {reason}" if reason else what, type=EventType.CLUSTER_UPDATE)


def _outcome(migration: OnlineMigration) -> MigrationReport:
    assert migration.outcome is not None
    return migration.outcome
