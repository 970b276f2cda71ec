"""Restarts of a server that Patroni runs: for settings that need one, and for a replaced program.

Nodes are restarted one at a time, in an order that the controller chooses (``rules/rolling.py``) by what each
of them reports here.  One that stands by is restarted when it is its turn; one that takes writes gives up to
another one first, which restarts it, or is restarted in its place behind held pools (``switching.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cenote.conf import patroni
from cenote.conf.postgresql import FOLLOWED
from cenote.engine.plan import postgresql
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import Plan, RestartByPatroni, Wait
from cenote.model.paths import POSTGRESQL
from cenote.model.status_records import PendingRestart
from cenote.rules import refused_settings, restarts
from cenote.rules.restarts import Urgency


@dataclass(frozen=True, slots=True)
class Seen:
    """``pending``: the settings that wait for a restart, with the values in force.

    ``since`` is when the server was started, ``outdated``: its program was replaced since.  ``least`` has the
    values below which a server that stands by does not start; Patroni gives it these then.  ``refused`` are
    entries of its file that the server does not accept.
    """

    pending: dict[str, str]
    since: datetime
    at: datetime
    outdated: bool = False
    least: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def plan(context: NodeContext, seen: Seen) -> Plan:
    found, turn = pending(context, seen), context.cluster.restart_turn
    if found is None or turn is None or turn.node != context.node.name or NodeKind.WRITER in context.kinds:
        return
    yield change(context, found)
    yield Wait(f"{POSTGRESQL} is restarting, for {found.in_words}")


def change(context: NodeContext, found: PendingRestart) -> RestartByPatroni:
    return RestartByPatroni(
        context.failover_agent,
        context.address,
        context.cluster_paths.certificate,
        writes=NodeKind.WRITER in context.kinds,
        node=context.node.name,
        why=found.in_words,
        for_update=found.update,
    )


def pending(context: NodeContext, seen: Seen) -> PendingRestart | None:
    """Return what a restart would bring, None while none is due.

    One that could not come into force yet, since the writer has more, waits for the writer.
    """
    if refused_settings.refused(context.cluster, context.refused, seen.refused) != context.refused:
        return None  # a server that reads them at its start does not come up; they are left out first
    wanted = patroni.on_command_line(postgresql.settings(context))
    least = {} if NodeKind.WRITER in context.kinds else seen.least
    brought = {
        name: value for name, value in seen.pending.items() if not _is_blocked(name, value, wanted, least)
    }
    found = PendingRestart(
        settings=tuple(sorted(brought)),
        update=seen.outdated,
        grows=_changed(brought, wanted, more=True),
        shrinks=_changed(brought, wanted, more=False),
    )
    return found if _is_due(context, seen, brought) else None


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    return {"restart": pending(context, seen)}


def _is_due(context: NodeContext, seen: Seen, brought: Mapping[str, str]) -> bool:
    urgencies = set(restarts.urgencies(context.cluster, brought).values())
    waits = seen.outdated or Urgency.WINDOW in urgencies
    return Urgency.NOW in urgencies or (waits and restarts.is_due(context.cluster, seen.since, seen.at))


def _is_blocked(name: str, in_force: str, wanted: Mapping[str, str], least: Mapping[str, int]) -> bool:
    """Return whether a server that stands by would have the same value after a restart."""
    return name in least and max(int(wanted[name]), least[name]) == int(in_force)


def _changed(brought: Mapping[str, str], wanted: Mapping[str, str], *, more: bool) -> tuple[str, ...]:
    names = sorted(FOLLOWED.keys() & brought.keys())
    return tuple(name for name in names if (int(wanted[name]) > int(brought[name])) is more)
