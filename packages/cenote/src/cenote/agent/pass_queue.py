"""The queue of passes of a host: a few at a time, and those that somebody waits for first.

After a start every node wants a pass at once.  Without a queue they would all crawl along together, and what
shares the event loop with them, such as the host's presence in the store, would wait for the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
from collections.abc import AsyncIterator, Callable
from enum import IntEnum

PASSES_AT_ONCE = 4
TURN_SECONDS = 1.0  # a pass that takes longer waits for a server or a lock, and others go on meanwhile
STARTS_AT_ONCE = 2 * len(os.sched_getaffinity(0)) + 2
START_SECONDS = 10.0  # a server that takes longer recovers from a crash, and others are started meanwhile


class Urgency(IntEnum):
    """Why a node wants a pass; the lower value goes first."""

    CHANGED = 0  # its record, or a server of it has ended
    DOWN = 1  # since the start of this process: a server of it does not run
    IN_USE = 2  # the same: it has clients
    IDLE = 3


class Held:
    """Something of a limited number, given back once: by ``release``, or after some seconds."""

    def __init__(self, give_back: Callable[[], None], seconds: float) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self._timer = asyncio.get_running_loop().call_later(seconds, self.release)

    def release(self) -> None:
        self._timer.cancel()
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()


class Turn:
    """A pass that waits in the queue, or is under way."""

    def __init__(self, urgency: Urgency) -> None:
        self.urgency = urgency
        self.comes: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class PassQueue:
    """Limits how many passes of a host are under way, and how many servers are being started."""

    def __init__(self, at_once: int = PASSES_AT_ONCE, starts_at_once: int = STARTS_AT_ONCE) -> None:
        self._free = at_once
        self._waiting: list[tuple[Urgency, int, Turn]] = []
        self._order = itertools.count()
        self._starts = asyncio.Semaphore(starts_at_once)

    @contextlib.asynccontextmanager
    async def turn(self, turn: Turn) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the block; after TURN_SECONDS others no longer wait for it."""
        self._push(turn)
        self._admit()
        try:
            await turn.comes
        except asyncio.CancelledError:
            if not turn.comes.cancelled():
                self._release()
            raise
        held = Held(self._release, TURN_SECONDS)
        try:
            yield
        finally:
            held.release()

    def expedite(self, turn: Turn) -> None:
        """Have a turn that still waits come before those that nobody waits for."""
        if not turn.comes.done() and turn.urgency is not Urgency.CHANGED:
            turn.urgency = Urgency.CHANGED
            self._push(turn)  # its former place is passed over, since it has had its turn by then

    async def start(self) -> Held:
        """Wait until few enough servers are being started, and count as one more, START_SECONDS at most."""
        await self._starts.acquire()
        return Held(self._starts.release, START_SECONDS)

    def _push(self, turn: Turn) -> None:
        heapq.heappush(self._waiting, (turn.urgency, next(self._order), turn))

    def _admit(self) -> None:
        while self._free and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.comes.done():
                self._free -= 1
                turn.comes.set_result(None)

    def _release(self) -> None:
        self._free += 1
        self._admit()
