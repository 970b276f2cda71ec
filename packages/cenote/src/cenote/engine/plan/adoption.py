"""Adoption: what we made on a server and the record does not name is reported, for the record to take it in.

On a fork that comes first: no user, database or pool of the record is made or dropped before the record says
what the server had at that moment.  Passwords are taken away alone, which are those of the source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import databases, ledger, roles
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import Ledger
from cenote.model.adoption import Found, FoundDatabase, FoundUser
from cenote.model.changes import Plan, Sql, Wait
from cenote.model.records import Access, Cluster, RemovalKind, Restoration

READING = "its users and databases are read into its record"


@dataclass(frozen=True, slots=True)
class Seen:
    """The ledger; and where something is to be adopted, the roles, the databases and the noted grants."""

    ledger: Ledger
    roles: roles.Seen | None = None
    databases: databases.Seen | None = None
    grants: frozenset[str] = frozenset()


def fork_of(context: NodeContext) -> Restoration | None:
    """Return the restoration of this node as a fork, None if there is none."""
    restoration = context.cluster.restoration
    is_here = restoration is not None and restoration.fork and restoration.node == context.node.name
    return restoration if is_here else None


def is_due(context: NodeContext, made: Ledger) -> bool:
    """Return whether there is something to adopt, or to look up for a fork."""
    return fork_of(context) is not None or any(made.unrecorded(context.cluster, kind) for kind in RemovalKind)


def plan(context: NodeContext, seen: Seen) -> Plan:
    yield from _opening(context.cluster, seen)
    if fork_of(context) is not None:
        yield from _without_passwords(context.cluster, seen)
        yield Wait(READING)


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    if seen.roles is None or seen.databases is None:
        return {"found": None}
    cluster, fork = context.cluster, fork_of(context)
    found = Found(
        users=tuple(_users(seen.ledger.unrecorded(cluster, RemovalKind.USER), seen.roles, seen.grants)),
        databases=tuple(_databases(seen.ledger.unrecorded(cluster, RemovalKind.DATABASE), seen.databases)),
    )
    return {"found": found if fork is None else _with_missing(found, cluster, fork, seen)}


def _opening(cluster: Cluster, seen: Seen) -> Iterator[Sql]:
    """Let clients into databases again that were to be dropped by a removal that the record does not have."""
    if seen.databases is None:
        return
    for name in seen.ledger.unrecorded(cluster, RemovalKind.DATABASE):
        there = seen.databases.databases.get(name)
        if there is not None and there.connection_limit == 0:
            statement = SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(Identifier(name))
            yield Sql(SUPERUSER, f"opening database {name}", (statement,))


def _without_passwords(cluster: Cluster, seen: Seen) -> Iterator[Sql]:
    """Take the passwords of the source from users that get new ones, before anybody can log in.

    Those that SQL made keep what SQL has set.
    """
    if seen.roles is None:
        return
    ours = {user.name for user in cluster.users if user.verifier} | seen.roles.made
    for name in sorted(ours & seen.roles.roles.keys()):
        if seen.roles.roles[name].verifier is not None:
            statement = SQL("ALTER ROLE {} PASSWORD NULL").format(Identifier(name))
            yield Sql(SUPERUSER, f"taking the password of user {name}", (statement,))


def _users(names: Collection[str], seen: roles.Seen, grants: Collection[str]) -> Iterator[FoundUser]:
    for name in names:
        made = seen.state.made(name)
        replication, _, _ = seen.state.of(name, ledger.REPLICATION).partition(".")
        yield FoundUser(
            name=name,
            number=0 if made is None else made.number,
            allow_replication={"True": True, "False": False}.get(replication),
            access=_access(name, grants),
        )


def _access(user: str, grants: Collection[str]) -> Access | None:
    """Return the preset that a user was granted, by the ledger; of two the wider one."""
    found = {
        what.partition("-")[0] for holder, _, what in (name.split("/") for name in grants) if holder == user
    }
    return next((access for access in (Access.READWRITE, Access.READONLY) if access in found), None)


def _databases(names: Collection[str], seen: databases.Seen) -> Iterator[FoundDatabase]:
    for name in names:
        made = seen.state.made(name)
        owner = seen.state.of(name, ledger.OWNED_BY).rpartition(".")[0]
        yield FoundDatabase(name=name, owner=owner, number=0 if made is None else made.number)


def _with_missing(found: Found, cluster: Cluster, fork: Restoration, seen: Seen) -> Found:
    assert seen.roles is not None
    assert seen.databases is not None
    users, there = set(seen.roles.roles), set(seen.databases.databases)
    return Found(
        users=found.users,
        databases=found.databases,
        restored_for=fork.asked_at,
        missing_users=_missing((user.name for user in cluster.users), users | seen.ledger.of(ledger.ROLE)),
        missing_databases=_missing(
            (one.name for one in cluster.databases), there | seen.ledger.of(ledger.DATABASE)
        ),
        pools=tuple(
            pool.name
            for pool in cluster.pools
            if pool.database not in there or (pool.user and pool.user not in users)
        ),
    )


def _missing(names: Iterator[str], there: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in there)
