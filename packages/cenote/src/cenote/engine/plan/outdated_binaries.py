"""Restarts of servers whose program file was replaced since they were started, as by a minor release.

The system's package manager leaves our servers running.  They restart in the cluster's maintenance window, or
when its owner asks for it.  Servers that Patroni runs have a part of their own (``managed_restart.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cenote.engine.plan import restart
from cenote.engine.plan.context import NodeContext, NodeKind
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
    if _is_due(context, seen, context.bouncer) and _is_free(context):
        yield Stop(context.bouncer)  # the part PgBouncer starts it again
    if NodeKind.MANAGED not in context.kinds and _is_due(context, seen, context.server):
        yield from restart.changes(context, seen.digest, seen.content)
        yield Wait("PostgreSQL is restarting, for an update")


def _is_free(context: NodeContext) -> bool:
    """Return whether the pooler is this node's, and holds nobody for a switch."""
    return context.is_first_here and context.cluster.switchover is None


def _is_due(context: NodeContext, seen: Seen, program: Program) -> bool:
    since = seen.outdated.get(program.name)
    return since is not None and restarts.is_due(context.cluster, since, seen.at)
