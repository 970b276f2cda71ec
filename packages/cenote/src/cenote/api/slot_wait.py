"""Holding a request until the rate limit has room for it; see ``limits``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from cenote.api.limits import HOLD_SECONDS, Limits, RateLimitStatus, Slot
from cenote.errors import TooManyRequests
from cenote.http.routing import Message, Receive


class Gone(Exception):
    """The client has closed the connection, so the request has no answer."""


class SlotWait:
    """The wait of one request; afterwards its messages come from ``receive``."""

    def __init__(self, limits: Limits, receive: Receive) -> None:
        self._limits = limits
        self._receive = receive
        self._received = deque[Message]()

    async def wait(self, slot: Slot) -> RateLimitStatus:
        """Wait for the slot; return what the limits say then.  Gone if the client leaves before."""
        give_up = time.monotonic() + 2 * HOLD_SECONDS
        watch = asyncio.create_task(self._disconnect(), name="watching a held request")
        try:
            while True:
                await self._sleep_until(slot, watch)
                status = self._limits.take(slot, max(slot.at, time.monotonic()), time.time())
                if status.slot is None:
                    return status
                if time.monotonic() > give_up:  # requests that came late to their slots took its place
                    self._limits.give_back(status.slot)
                    return RateLimitStatus(
                        status.limit, status.remaining, status.reset, TooManyRequests(retry_after=1)
                    )
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def receive(self) -> Message:
        return self._received.popleft() if self._received else await self._receive()

    async def _sleep_until(self, slot: Slot, watch: asyncio.Task[bool]) -> None:
        try:
            done, _ = await asyncio.wait([watch], timeout=max(0.0, slot.at - time.monotonic()))
            if done and not await watch:  # the rest of a long body is not read yet
                await asyncio.sleep(max(0.0, slot.at - time.monotonic()))
            elif done:
                raise Gone
        except BaseException:
            self._limits.give_back(slot)
            raise

    async def _disconnect(self) -> bool:
        """Return True when the client disconnects, False after the first piece of a longer body.

        A body that is read and not decoded yet takes memory, so no more than that is read.
        """
        while True:
            message = await self._receive()
            self._received.append(message)
            if message["type"] == "http.disconnect":
                return True
            if message.get("more_body", False):
                return False
