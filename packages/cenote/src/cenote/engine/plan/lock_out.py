"""Locking out the users and databases that are to be dropped: no new sessions, and an end to those there are.

A user loses ``LOGIN`` and its sessions, walsenders and clients of the pooler.  A database takes no connection
but a superuser's, and loses its sessions, walsenders and the like; an idle replication slot goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Change, Disconnect, Drop, DropPlan, Sql
from cenote.model.records import RemovalKind

# Ends backends until none is left, for 2 seconds at most; pg_terminate_backend itself waits for nothing
# before PostgreSQL 14.  A slot may be in use by a process that has no row in pg_stat_activity yet.
_END = """
DECLARE
    tries int := 100;
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(pid) FROM ({pids}) AS backends (pid) WHERE pid <> pg_backend_pid();
        EXIT WHEN NOT FOUND OR tries = 0;
        PERFORM pg_sleep(0.02);
        tries := tries - 1;
    END LOOP;
END
"""
_OF_USER = SQL("SELECT pid FROM pg_stat_activity WHERE usename = {name}")
_OF_DATABASE = SQL(
    "SELECT pid FROM pg_stat_activity WHERE datname = {name}"
    " UNION SELECT active_pid FROM pg_replication_slots WHERE database = {name} AND active_pid IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Those that exist; ``pooled`` are the ids of the pooler's clients, by user."""

    users: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    pooled: dict[str, tuple[int, ...]] = field(default_factory=dict)


def plan(_context: NodeContext, seen: Seen) -> DropPlan:
    for name in seen.users:
        changes: list[Change] = [
            Sql(
                SUPERUSER,
                f"ending the sessions of user {name}",
                (SQL("ALTER ROLE {} NOLOGIN NOREPLICATION").format(Identifier(name)), _end(_OF_USER, name)),
                atomic=False,
            )
        ]
        if name in seen.pooled:
            changes.append(Disconnect(seen.pooled[name]))
        yield Drop(RemovalKind.USER, name, tuple(changes))
    for name in seen.databases:
        closing = SQL("ALTER DATABASE {} WITH IS_TEMPLATE false CONNECTION LIMIT 0").format(Identifier(name))
        end = Sql(
            SUPERUSER,
            f"ending the sessions in database {name}",
            (closing, _end(_OF_DATABASE, name)),
            atomic=False,
        )
        yield Drop(RemovalKind.DATABASE, name, (end,))


def _end(pids: SQL, name: str) -> Composed:
    found: Composable = pids.format(name=Literal(name))
    return SQL("DO {}").format(Literal(SQL(_END).format(pids=found).as_string(None)))
