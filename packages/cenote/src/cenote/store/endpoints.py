"""The members of an etcd as endpoints: which one is asked, and when it is left.

The first in order that is not away is asked: a process prefers the member of its own host.  One that fails is
away until it says that it is healthy.  Whatever waits for an endpoint is given up once that does not answer a
question that costs nothing: so a process that was stopped, or a host that fell silent, is noticed within 2
seconds, and what is slow is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from cenote.errors import Unavailable
from cenote.store.etcd_http import Address

PING_SECONDS = 0.5  # between two questions
SILENT_SECONDS = 1.0  # an endpoint that has not answered for so long is left
# How long an answer is waited for while others can be asked: a follower says that it is alive while its
# leader is dead.  After an answer that did not come in time the next has longer, so that a slow store is not
# asked more and more.
PATIENCE = (2.0, 4.0, 10.0)
ALIVE, HEALTHY = "/version", "/health"
OK = 200

Get = Callable[[Address, str, float], Awaitable[int]]  # the status of a path, 0 without an answer


class Endpoints:
    def __init__(self, addresses: Callable[[], Sequence[Address]], get: Get) -> None:
        """``addresses`` gives those of the members as they are at that moment, the preferred ones first."""
        self._addresses, self._get = addresses, get
        self._all = list(addresses())
        self._away: dict[Address, float] = {}  # and since when
        self._waiting: dict[Address, set[asyncio.Timeout]] = {}
        self._late = 0  # answers in a row that did not come in time
        self._attending: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._all)

    def pick(self) -> Address:
        """Return the one to ask: of those that are away, the one that was left first."""
        if not self._all:
            raise Unavailable("no member of etcd is known here")
        return min(self._all, key=lambda address: self._away.get(address, 0.0))

    def leave(self, address: Address) -> None:
        """Ask others first from now on, until this one is healthy."""
        self._refresh()
        if len(self._all) > 1:
            self._away[address] = time.monotonic()

    @contextlib.asynccontextmanager
    async def waiting(self, address: Address, *, for_ever: bool = False) -> AsyncIterator[None]:
        """Wait in the body for an answer; TimeoutError when the endpoint is left meanwhile."""
        if len(self._all) < 2:
            yield
            return
        if self._attending is None:
            self._attending = asyncio.create_task(self._attend(), name="endpoints of etcd")
        seconds = None if for_ever else PATIENCE[min(self._late, len(PATIENCE) - 1)]
        async with asyncio.timeout(seconds) as limit:
            waiting = self._waiting.setdefault(address, set())
            waiting.add(limit)
            try:
                yield
                if not for_ever:
                    self._late = 0
            except asyncio.CancelledError:
                if not for_ever and limit.expired():
                    self._late += 1
                raise
            finally:
                waiting.discard(limit)

    async def close(self) -> None:
        if self._attending is not None:
            self._attending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._attending

    async def _attend(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            self._refresh()
            asked = [
                address for address, limits in self._waiting.items() if limits and address not in self._away
            ]
            await asyncio.gather(*map(self._check, asked), *map(self._ask_back, list(self._away)))

    async def _check(self, address: Address) -> None:
        if await self._get(address, ALIVE, SILENT_SECONDS):
            return
        self.leave(address)
        now = asyncio.get_running_loop().time()
        for limit in list(self._waiting.get(address, ())):
            if not limit.expired():
                limit.reschedule(now)

    async def _ask_back(self, address: Address) -> None:
        if await self._get(address, HEALTHY, SILENT_SECONDS) == OK:
            self._away.pop(address, None)

    def _refresh(self) -> None:
        self._all = list(self._addresses()) or self._all
        self._away = {address: since for address, since in self._away.items() if address in self._all}
        self._waiting = {address: limits for address, limits in self._waiting.items() if limits}
