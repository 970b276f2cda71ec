"""Restarts for settings that need one (``pending_restart``).

Clients of pools see no error: the pooler is paused meanwhile, and the part PgBouncer resumes it when the
server is ready.  So a pooler that a crash left paused is resumed by the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Restart, Sql, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``pending`` names the settings that wait for a restart; ``digest`` is of the loaded configuration."""

    pending: tuple[str, ...]
    digest: str


def plan(context: NodeContext, seen: Seen) -> Plan:
    if seen.pending:
        yield from changes(context, seen.digest)
        yield Wait(f"PostgreSQL is restarting, for {', '.join(seen.pending)}")


def changes(context: NodeContext, digest: str) -> Plan:
    """Restart the server behind its pooler."""
    # The shutdown writes a checkpoint while clients wait; one right before it leaves little to write.
    yield Sql(
        SUPERUSER,
        "writing a checkpoint",
        (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout")),
        atomic=False,
    )
    yield Restart(context.server, context.bouncer, digest)
