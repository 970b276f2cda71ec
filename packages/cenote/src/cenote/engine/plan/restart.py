"""Restarts for settings that need one (``pending_restart``), when they are due.

Clients of pools see no error: the pooler is paused meanwhile, and the part PgBouncer resumes it when the
server is ready.  So a pooler that a crash left paused is resumed by the next pass, or by a process of its own
when the pause is over (``host.resume_guard``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import postgresql
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Restart, Sql, Wait, WriteFile
from cenote.rules import refused_settings, restarts
from cenote.rules.restarts import Urgency


@dataclass(frozen=True, slots=True)
class Seen:
    """``pending``: the settings that wait for a restart, with the values in force.

    ``digest`` is of the loaded configuration, ``since`` is when the server was started, ``content`` is that
    of its ``postgresql.conf``, and ``refused`` has the entries of that file that the server does not accept.
    """

    pending: dict[str, str]
    digest: str
    since: datetime
    at: datetime
    content: bytes | None = field(default=None, repr=False)
    refused: dict[str, str] = field(default_factory=dict)


def plan(context: NodeContext, seen: Seen) -> Plan:
    urgencies = set(restarts.urgencies(context.cluster, seen.pending).values())
    in_window = Urgency.WINDOW in urgencies and restarts.is_due(context.cluster, seen.since, seen.at)
    if Urgency.NOW in urgencies or in_window:
        refused = refused_settings.refused(context.cluster, context.refused, seen.refused)
        digest = seen.digest
        if refused != context.refused:  # a server that reads them at its start does not come up
            yield _configuration(dataclasses.replace(context, refused=refused), seen.content)
            digest = "unknown"
        yield from changes(context, digest, seen.content)
        yield Wait(f"PostgreSQL is restarting, for {', '.join(seen.pending)}")


def changes(context: NodeContext, digest: str, content: bytes | None) -> Plan:
    """Restart the server behind its pooler, with this version's settings even if it ran with former ones."""
    # The shutdown writes a checkpoint while clients wait; one right before it leaves little to write.
    yield Sql(
        SUPERUSER,
        "writing a checkpoint",
        (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout")),
        atomic=False,
    )
    if postgresql.is_former(context, content):
        yield _configuration(context, content)
        digest = "unknown"  # a reload follows
    yield Restart(context.server, context.bouncer, digest)


def _configuration(context: NodeContext, content: bytes | None) -> WriteFile:
    file, read_only = postgresql.configuration_file(context), postgresql.refuses_writes(content)
    return WriteFile(file, postgresql.configuration_files(context, read_only=read_only)[file])
