"""Restarts of servers whose program file was replaced since they were started, as by a minor release.

The system's package manager leaves our servers running.  They restart in the cluster's maintenance window, or
when its owner asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cenote.engine.plan import restart
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Program, Stop, Wait
from cenote.rules import restarts


@dataclass(frozen=True, slots=True)
class Seen:
    """The start time of each outdated server, what PostgreSQL has loaded, and its ``postgresql.conf``."""

    outdated: dict[str, datetime]
    digest: str
    at: datetime
    content: bytes | None = field(default=None, repr=False)


def plan(context: NodeContext, seen: Seen) -> Plan:
    if _is_due(context, seen, context.bouncer):
        yield Stop(context.bouncer)  # the part PgBouncer starts it again
    if _is_due(context, seen, context.server):
        yield from restart.changes(context, seen.digest, seen.content)
        yield Wait("PostgreSQL is restarting, for an update")


def _is_due(context: NodeContext, seen: Seen, program: Program) -> bool:
    since = seen.outdated.get(program.name)
    return since is not None and restarts.is_due(context.cluster, since, seen.at)
