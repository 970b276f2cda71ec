"""The restart that some settings of PostgreSQL need; whether one is needed, the server itself says.

Clients of pools do not notice: the pooler holds them meanwhile, and the part ``pooler`` has it go on when the
server is ready.  So a pooler that was left paused, by whatever crash, goes on with the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine import loaded
from cenote.engine.context import NodeContext
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model.changes import Plan, Restart, Sql, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``pending`` names the settings that wait for a restart; ``digest`` is of what the server has read."""

    pending: tuple[str, ...]
    digest: str


async def look(machine: Machine, wanted: NodeContext, session: Session) -> Seen:
    found = loaded.look(wanted.server)
    # Only reading its files again can bring a server to wait for a restart.
    if found.digest is not None and machine.settled.get(wanted.server.stamp) == found:
        return Seen((), found.digest)
    pending = await session.rows(
        SUPERUSER, "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name"
    )
    if not pending:
        machine.settled[wanted.server.stamp] = found
    return Seen(tuple(name for (name,) in pending), found.digest or "unknown")


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    if seen.pending:
        yield from changes(wanted, seen.digest)
        yield Wait(f"PostgreSQL is restarting, for {', '.join(seen.pending)}")


def changes(wanted: NodeContext, digest: str) -> Plan:
    """Restart the server behind its pooler."""
    # The shutdown writes a checkpoint, too; what is written before need not be written while clients wait.
    yield Sql(
        SUPERUSER,
        "writing a checkpoint",
        (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout")),
        atomic=False,
    )
    yield Restart(wanted.server, wanted.bouncer, digest)
