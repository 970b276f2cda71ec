"""Whether a node can be left alone, since nothing has happened in it since a pass found nothing to do."""

from __future__ import annotations

import random
import time

from cenote.engine.plan.context import NodeContext
from cenote.host.trace import Trace, Tracer


class Quiet:
    """The trace of a node at its last pass that found nothing to do, as long as that is not too long ago."""

    def __init__(self, full_look_interval: float) -> None:
        """``full_look_interval``: seconds after which a node is looked at whatever its trace says."""
        self._tracer, self._interval = Tracer(), full_look_interval
        self._trace: Trace | None = None
        self._until = 0.0

    def read(self, context: NodeContext) -> Trace | None:
        """Return the trace of a node as it is now; read it before a pass, or changes during it are missed."""
        paths = context.cluster_paths
        folders = (paths.root, paths.pooler, paths.certificate.parent, paths.sockets, context.paths.data)
        return self._tracer.read(context.server, context.bouncer, folders)

    def begin(self, trace: Trace | None, most: float | None = None) -> None:
        """A pass that began with this trace has found nothing to do, for ``most`` seconds if given."""
        self._trace = trace
        # Spread, since all nodes are looked at together after a start.
        seconds = self._interval * random.uniform(0.5, 1)  # noqa: S311
        self._until = time.monotonic() + (seconds if most is None else min(seconds, most))

    def end(self) -> None:
        self._trace = None

    def lasts(self, context: NodeContext) -> bool:
        if self._trace is None or time.monotonic() > self._until:
            return False
        now = self.read(context)
        return now is not None and self._trace.is_of_same_state(now)
