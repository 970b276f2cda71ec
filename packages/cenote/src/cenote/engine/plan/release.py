"""A node that is its cluster's only one again: Patroni ends, and PostgreSQL goes on.

Patroni is killed, since in order it would stop PostgreSQL first.  What it left in the configuration is
replaced by the part PostgreSQL; our settings, which that includes, stay until then and longer.  A node that
still follows another one waits until it takes writes.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Remove, Stop, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``running``: Patroni; ``recovering``: its server follows another one, or is down."""

    has_folder: bool
    running: bool = False
    recovering: bool = False


def plan(context: NodeContext, seen: Seen) -> Plan:
    if not seen.has_folder:
        return
    if seen.running and seen.recovering:
        yield Wait("it still follows another node, and is about to take writes")
    if seen.running:
        yield Stop(replace(context.failover_agent, stop_signal=signal.SIGKILL))
    yield Remove(context.paths.patroni)
    yield Remove(context.failover_agent.stamp)
