"""Whether etcd answers, which a watch does not tell: one that hangs is as silent as one that has no news."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

ASK_SECONDS = 3.0  # between two questions
ANSWER_SECONDS = 3.0


class Liveness:
    """Asks etcd now and then; ``answers`` is False while a question is left open for too long, or fails."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self.answers = True
        self._silent_since = 0.0  # in monotonic time
        self._ask = ask
        self._task: asyncio.Task[None] | None = None

    def silent_for(self) -> float:
        """Return for how many seconds etcd has not answered; 0 while it does."""
        return 0.0 if self.answers else time.monotonic() - self._silent_since

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="asking etcd")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            asked = time.monotonic()
            asking = asyncio.ensure_future(self._ask())
            try:
                await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
                if not asking.done():
                    self._note(asked, answers=False)
                await asyncio.wait({asking})  # the client has a limit of its own
                self._note(asked, answers=asking.exception() is None)
            finally:
                asking.cancel()

    def _note(self, asked: float, *, answers: bool) -> None:
        if self.answers and not answers:
            log.warning("etcd does not answer; serving reads from the cache")
            self._silent_since = asked
        self.answers = answers
