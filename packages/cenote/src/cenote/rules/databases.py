"""Validation of databases, and changes to a cluster's list of them."""

from __future__ import annotations

from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.model.by_sql import BySql
from cenote.model.records import DEFAULT_DATABASE, Cluster, Database, RemovalKind
from cenote.model.status_records import NodeStatus
from cenote.rules import online_migrations, removals, sql_changes
from cenote.rules.names import check_unused, quoted, server_name

MAX_DATABASES = 1_000


def database_name(name: str) -> str:
    return server_name("database", name)


def add_database(cluster: Cluster, name: str, owner: str = "", seen: NodeStatus | None = None) -> Cluster:
    """Add a database; Busy while one of this name is being removed, as far as ``seen`` tells.

    A database that SQL made becomes this one; one of the record that SQL has dropped is created again, empty.
    """
    database_name(name)
    found = sql_changes.of(seen)
    if owner:
        _check_owner(cluster, owner, found)
    if (former := cluster.database(name)) is not None:
        known = sql_changes.database_of(former, found)
        if known is None or not known.gone:
            raise Invalid("database name is not available")
        again = Database(name=name, owner=owner, number=former.number + 1)
        return replace(cluster, databases=tuple(again if one is former else one for one in cluster.databases))
    removed = removals.count(cluster, RemovalKind.DATABASE, seen)
    if (count := len(cluster.databases) + removed) >= MAX_DATABASES:
        raise Invalid(f"a cluster has at most {MAX_DATABASES} databases, and this one has {count}.")
    cluster = removals.free_name(cluster, RemovalKind.DATABASE, name, seen)
    return replace(cluster, databases=(*cluster.databases, Database(name=name, owner=owner)))


def _check_owner(cluster: Cluster, owner: str, found: BySql) -> None:
    user = sql_changes.user(cluster, owner, found)
    if user is None:
        raise Invalid(f"cenote.owner: there is no user {quoted(owner)} on this cluster.")
    role = sql_changes.role_of(user, found)
    if role is not None and role.gone:
        raise Invalid(f"cenote.owner: user {quoted(owner)} {role.gone}.")


def remove_database(cluster: Cluster, name: str, seen: NodeStatus | None = None) -> Cluster:
    if cluster.database(name) is None:
        raise NotFound
    if name == DEFAULT_DATABASE:
        raise Invalid(f"database {DEFAULT_DATABASE!r} can't be deleted.")
    if name in online_migrations.closed_databases(cluster):
        online_migrations.check_none(cluster)
    check_unused(f"database {name!r}", [pool.name for pool in cluster.pools if pool.database == name])
    return replace(
        removals.begin(cluster, RemovalKind.DATABASE, name, seen),
        databases=tuple(database for database in cluster.databases if database.name != name),
    )
