"""The positions in the logs that log sinks start from: for a new sink, the end of each log.

``agent/log_shipping.py`` advances them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from cenote.engine.plan.context import NodeContext
from cenote.logs import positions
from cenote.logs.positions import LogPosition, Positions
from cenote.model.changes import Plan, Remove, WriteFile
from cenote.model.records import LogSource


@dataclass(frozen=True, slots=True)
class Seen:
    """The sinks that have a position file, and where the logs end."""

    known: frozenset[UUID]
    ends: Mapping[LogSource, LogPosition]


def plan(context: NodeContext, seen: Seen) -> Plan:
    there = {sink.id for sink in context.cluster.sinks}
    for sink in sorted(there - seen.known):
        content = positions.encode(Positions(places=dict(seen.ends)))
        yield WriteFile(context.paths.sink(sink), content, for_servers=False)
    for sink in sorted(seen.known - there):
        yield Remove(context.paths.sink(sink))
