"""Which passes of a node that prepares a planned switch bring about what else its record wants.

All others end when the node is ready (``engine/plan/switching.py``), so that the next one finds out at once
that pools are to be held.  But a switch may wait for minutes, as for a transaction, and nobody whose access
is taken away meanwhile may keep it for so long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from msgspec.structs import replace

from cenote.engine.plan import switching
from cenote.engine.plan.context import NodeContext

AGAIN = 5.0  # seconds until what could not be brought about, as behind a customer's lock, is tried again


class Preparing:
    """What the passes before have brought about, and whose turn it is: changes and the switch take turns."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tried: object = None  # as far as the passes could
        self._again_at = math.inf
        self._is_their_turn = True

    def is_due(self, context: NodeContext) -> bool:
        """Return whether a pass has to bring about what else is wanted, before it goes on with the switch."""
        if switching.asked(context) is None or not self._is_their_turn:
            return False
        return self._tried != _wanted(context) or self._clock() >= self._again_at

    def tried(self, context: NodeContext, *, remains: bool) -> None:
        """Note that a pass has brought about what else is wanted; ``remains``: all but something."""
        self._tried = _wanted(context)
        self._again_at = self._clock() + AGAIN if remains else math.inf
        self._is_their_turn = switching.asked(context) is None

    def waited(self, context: NodeContext, ready_for: object) -> None:
        """Note that a pass has gone on with the switch, and for which attempt the node is ready."""
        switch = switching.asked(context)
        if switch is None or ready_for == switch.attempt:
            self._is_their_turn = True


def _wanted(context: NodeContext) -> object:
    return context.kinds, replace(context.cluster, switchover=None)
