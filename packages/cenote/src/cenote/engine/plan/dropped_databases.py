"""Dropping databases that were removed from the record, and whatever PostgreSQL refuses to drop them with.

That is prepared transactions, which can be rolled back in their own database only, and subscriptions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Change, Drop, DropPlan, Sql
from cenote.model.records import RemovalKind


@dataclass(frozen=True, slots=True)
class Held:
    """What a database holds; ``allows_connections`` is ours to use, as customers are locked out."""

    allows_connections: bool = True
    prepared: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` are in our ledger and to be dropped, ``held`` is of those that exist."""

    names: tuple[str, ...] = ()
    held: dict[str, Held] = field(default_factory=dict)


def plan(context: NodeContext, seen: Seen) -> DropPlan:
    for name in seen.names:
        changes = list(_emptying(name, seen.held.get(name, Held())))
        drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
        # DROP DATABASE cannot be in a transaction, so the ledger is cleared last.
        finishing = ledger.finish_removal(context.cluster, RemovalKind.DATABASE, name)
        statements = (*ledger.forget_database(name), drop, finishing)
        changes.append(Sql(SUPERUSER, f"dropping database {name}", statements, atomic=False))
        yield Drop(RemovalKind.DATABASE, name, tuple(changes))


def _emptying(name: str, held: Held) -> Iterator[Change]:
    if not (held.prepared or held.subscriptions):
        return
    if not held.allows_connections:
        opening = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name))
        yield Sql(SUPERUSER, f"opening database {name}", (opening,))
    for gid in held.prepared:
        yield roll_back(name, gid)
    for subscription in held.subscriptions:
        yield Sql(name, f"dropping a subscription in database {name}", drop_subscription(subscription))


def roll_back(database: str, gid: str) -> Sql:
    """Return the end of a prepared transaction."""
    statement = SQL("ROLLBACK PREPARED {}").format(Literal(gid))
    return Sql(
        database, f"rolling back a prepared transaction in database {database}", (statement,), atomic=False
    )


def drop_subscription(name: str) -> tuple[Composed, ...]:
    """Return statements that drop a subscription and leave its publisher alone."""
    named = Identifier(name)
    return (
        SQL("ALTER SUBSCRIPTION {} DISABLE").format(named),
        SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(named),
        SQL("DROP SUBSCRIPTION {}").format(named),
    )
