"""Servers that still run the program that was installed when they were started, and not the one that is now.

A minor release is installed by the system's package manager, which leaves our servers alone.  They restart
in the cluster's maintenance window, or as soon as its owner asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cenote.engine.plan import restart
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Program, Stop, Wait
from cenote.rules import maintenance


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when each server runs whose program was replaced, and what PostgreSQL has read."""

    outdated: dict[str, datetime]
    digest: str
    at: datetime


def plan(context: NodeContext, seen: Seen) -> Plan:
    if _is_due(context, seen, context.bouncer):
        yield Stop(context.bouncer)  # the pooler's own part starts it again
    if _is_due(context, seen, context.server):
        yield from restart.changes(context, seen.digest)
        yield Wait("PostgreSQL is restarting, for an update")


def _is_due(context: NodeContext, seen: Seen, program: Program) -> bool:
    since, asked_at = seen.outdated.get(program.name), context.cluster.update_asked_at
    if since is None:
        return False
    was_asked = asked_at is not None and since < asked_at
    return was_asked or maintenance.is_open(context.cluster.maintenance_window, seen.at)
