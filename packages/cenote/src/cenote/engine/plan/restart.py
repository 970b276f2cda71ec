"""The restart that some settings of PostgreSQL need; whether one is needed, the server itself says.

Clients of pools do not notice: the pooler holds them meanwhile, and the part ``pooler`` has it go on when the
server is ready.  So a pooler that was left paused, by whatever crash, goes on with the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Restart, Sql, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``pending`` names the settings that wait for a restart; ``digest`` is of what the server has read."""

    pending: tuple[str, ...]
    digest: str


def plan(context: NodeContext, seen: Seen) -> Plan:
    if seen.pending:
        yield from changes(context, seen.digest)
        yield Wait(f"PostgreSQL is restarting, for {', '.join(seen.pending)}")


def changes(context: NodeContext, digest: str) -> Plan:
    """Restart the server behind its pooler."""
    # The shutdown writes a checkpoint, too; what is written before need not be written while clients wait.
    yield Sql(
        SUPERUSER,
        "writing a checkpoint",
        (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout")),
        atomic=False,
    )
    yield Restart(context.server, context.bouncer, digest)
