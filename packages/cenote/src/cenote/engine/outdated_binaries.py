"""Servers that still run the program that was installed when they were started, and not the one that is now.

A minor release is installed by the system's package manager, which leaves our servers alone.  They restart
in the cluster's maintenance window, or as soon as its owner asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cenote.engine import loaded, restart
from cenote.engine.context import NodeContext
from cenote.host import processes
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model.changes import Plan, Program, Stop, Wait
from cenote.rules import maintenance


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when each server runs whose program was replaced, and what PostgreSQL has read."""

    outdated: dict[str, datetime]
    digest: str
    at: datetime


async def look(_machine: Machine, wanted: NodeContext, _session: Session) -> Seen:
    found = {program.name: _outdated_since(program) for program in (wanted.server, wanted.bouncer)}
    return Seen(
        {name: since for name, since in found.items() if since is not None},
        loaded.look(wanted.server).digest or "unknown",
        datetime.now(UTC),
    )


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    if _is_due(wanted, seen, wanted.bouncer):
        yield Stop(wanted.bouncer)  # the pooler's own part starts it again
    if _is_due(wanted, seen, wanted.server):
        yield from restart.changes(wanted, seen.digest)
        yield Wait("PostgreSQL is restarting, for an update")


def _is_due(wanted: NodeContext, seen: Seen, program: Program) -> bool:
    since, asked_at = seen.outdated.get(program.name), wanted.cluster.update_asked_at
    if since is None:
        return False
    was_asked = asked_at is not None and since < asked_at
    return was_asked or maintenance.is_open(wanted.cluster.maintenance_window, seen.at)


def _outdated_since(program: Program) -> datetime | None:
    process = processes.find(program)
    if process is None or not processes.is_outdated(process, program):
        return None
    return processes.started_at(process)
