"""The places in the logs from which sinks begin: a new one at the end of what is there.

How far a sink gets from there is written by ``shipping.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from cenote.engine.context import NodeContext
from cenote.host import files, log_files
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.logs import positions
from cenote.logs.positions import LogPosition, Positions
from cenote.model.changes import Plan, Remove, WriteFile
from cenote.model.paths import sink_of
from cenote.model.records import LogSource


@dataclass(frozen=True, slots=True)
class Seen:
    """The sinks that have a file, and where the logs end."""

    known: frozenset[UUID]
    ends: Mapping[LogSource, LogPosition]


async def look(_machine: Machine, wanted: NodeContext, _session: Session) -> Seen:
    known = frozenset(sink for name in files.names(wanted.paths.root) if (sink := sink_of(name)) is not None)
    return Seen(known, {source: log_files.end(wanted.paths.log(source)) for source in LogSource})


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    there = {sink.id for sink in wanted.cluster.sinks}
    for sink in sorted(there - seen.known):
        yield WriteFile(wanted.paths.sink(sink), positions.written(Positions(places=dict(seen.ends))))
    for sink in sorted(seen.known - there):
        yield Remove(wanted.paths.sink(sink))
