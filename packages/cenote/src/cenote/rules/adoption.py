"""The adoption of what a server has into the record of its cluster: pure.

The ledger of a server says what we made there.  What it has and the record has not was dropped from the
record by nobody, or a removal would say so: the record is older than the data, or that of a fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from cenote.model.adoption import Found, FoundUser
from cenote.model.records import Cluster, Database, Pool, RemovalKind, User
from cenote.model.status_records import NodeStatus
from cenote.rules import removals

Thing = TypeVar("Thing", User, Database, Pool)


def is_restored_as_fork(cluster: Cluster, seen: NodeStatus | None) -> bool:
    """Return whether the data of a fork are there, and its users and databases were looked up."""
    restoration = cluster.restoration
    if restoration is None or not restoration.fork or seen is None or seen.found is None:
        return False
    return seen.found.restored_for == restoration.asked_at


def adopted(cluster: Cluster, seen: NodeStatus | None, new_user: Callable[[str], User]) -> Cluster:
    """Return the cluster with what its server has, else the same object.

    Users get new passwords, from ``new_user``.  A fork that was restored gets rid of what its server does not
    have, and its restoration is over.
    """
    found = None if seen is None else seen.found
    if found is None:
        return cluster
    if cluster.restoration is not None:
        if not is_restored_as_fork(cluster, seen):
            return cluster
        cluster = replace(_without_missing(cluster, found), restoration=None)
    users = [
        _user(one, new_user) for one in found.users if _is_new(cluster, RemovalKind.USER, one.name, seen)
    ]
    databases = [
        Database(name=one.name, owner=one.owner, number=one.number)
        for one in found.databases
        if _is_new(cluster, RemovalKind.DATABASE, one.name, seen)
    ]
    if not users and not databases:
        return cluster
    return replace(cluster, users=(*cluster.users, *users), databases=(*cluster.databases, *databases))


def _is_new(cluster: Cluster, kind: RemovalKind, name: str, seen: NodeStatus | None) -> bool:
    """Return whether the record does not have this name, also not among what it has removed since."""
    known = cluster.user(name) if kind is RemovalKind.USER else cluster.database(name)
    return known is None and not removals.is_pending(cluster, kind, name, seen)


def _user(found: FoundUser, new_user: Callable[[str], User]) -> User:
    return replace(
        new_user(found.name),
        number=found.number,
        allow_replication=found.allow_replication,
        access=found.access,
    )


def _without_missing(cluster: Cluster, found: Found) -> Cluster:
    return replace(
        cluster,
        users=_without(cluster.users, found.missing_users),
        databases=_without(cluster.databases, found.missing_databases),
        pools=_without(cluster.pools, found.pools),
    )


def _without(things: Iterable[Thing], names: Iterable[str]) -> tuple[Thing, ...]:
    gone = frozenset(names)
    return tuple(thing for thing in things if thing.name not in gone)
