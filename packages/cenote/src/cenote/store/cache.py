"""All keys below a prefix, in memory: listed once, then followed by a watch.

Changes are applied in etcd's own order and a whole transaction at a time, so a reader never sees half of one.
While etcd is away reads go on with what was last seen.  Afterwards the watch goes on where it broke; when the
history since then is compacted, a listing is compared with what is known, so that removals are seen as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from cenote.errors import Unavailable
from cenote.store import etcd_messages
from cenote.store.client import Compacted, EtcdClient
from cenote.store.retry import patiently

log = logging.getLogger(__name__)

# For each page etcd goes through the keys of all: few large pages are much faster than many small ones.
PAGE = 1000
SLICE = 50  # keys that are decoded in one go, a matter of a few milliseconds, before others have their turn
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.3


class View(Protocol):
    """What the keys mean."""

    def put(self, key: str, value: bytes, revision: int) -> None: ...

    def remove(self, key: str) -> None: ...


class WatchCache:
    """Keeps ``view`` at what etcd holds, and tells ``on_change`` which keys changed, after each step."""

    def __init__(
        self, gateway: EtcdClient, prefix: str, view: View, on_change: Callable[[set[str]], None]
    ) -> None:
        self.revision = 0
        self.connected = False
        self._gateway = gateway
        self._prefix = prefix
        self._view = view
        self._on_change = on_change
        self._known: dict[str, int] = {}  # the revision at which each key last changed
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._follower: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """List everything and begin to follow; Unavailable when etcd is away for long."""
        await patiently(self._list)
        self._follower = asyncio.create_task(self._follow(), name="store watch")

    async def close(self) -> None:
        self.connected = False
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None

    async def wait_for_revision(self, revision: int, seconds: float) -> bool:
        """Wait until all changes up to ``revision`` are in; False when they are not after ``seconds``."""
        if self.revision >= revision:
            return True
        waiter = (revision, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter[1]
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)
        return True

    async def _follow(self) -> None:
        pause, complete = SHORTEST_PAUSE, True
        while True:
            try:
                # A store that is behind us was restored from a copy or made anew: its history is not ours.
                if not complete or await self._gateway.revision(self._prefix) < self.revision:
                    await self._list()
                    complete = True
                async with contextlib.aclosing(self._gateway.watch(self._prefix, self.revision + 1)) as watch:
                    async for watched in watch:
                        self.connected, pause = True, SHORTEST_PAUSE
                        self._apply(watched.events)
                        self._advance(max(self.revision, watched.revision))
            except Compacted:
                complete = False
            except Unavailable as error:
                if self.connected:
                    log.warning("%s; reads go on with what is known", error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            except Exception:
                # Whoever made the mistake, it must not leave all reads at yesterday's records for good.
                log.exception("following etcd failed; listing everything again")
                complete = False
                await asyncio.sleep(LONGEST_PAUSE)
            finally:
                self.connected = False

    def _apply(self, events: list[etcd_messages.WatchEvent]) -> None:
        changed = set()
        for event in events:
            key, revision = event.kv.key.decode(), event.kv.mod_revision
            if revision <= self.revision:
                continue  # after a break etcd may begin a little earlier than asked
            if event.type == "DELETE":
                self._remove(key)
            else:
                self._put(key, event.kv)
            changed.add(key)
        if changed:
            self._on_change(changed)

    async def _list(self) -> None:
        """Bring the view to what etcd lists; the first time as it comes in, later in one step at its end."""
        first = not self._known
        behind = False
        seen: set[str] = set()
        new: list[etcd_messages.KeyValue] = []
        revision = 0
        async for page in self._gateway.pages(self._prefix, PAGE):
            revision = page.revision
            behind = revision < self.revision
            for number, found in enumerate(page.found):
                if number % SLICE == 0:
                    await asyncio.sleep(0)
                key = found.key.decode()
                seen.add(key)
                if first:
                    self._put(key, found)
                elif behind or self._known.get(key) != found.mod_revision:
                    new.append(found)
        changed = self._known.keys() - seen
        for key in changed:
            self._remove(key)
        for found in new:
            self._put(found.key.decode(), found)
            changed.add(found.key.decode())
        self._on_change(changed)
        self._advance(revision)

    def _put(self, key: str, found: etcd_messages.KeyValue) -> None:
        self._known[key] = found.mod_revision
        self._view.put(key, found.value, found.mod_revision)

    def _remove(self, key: str) -> None:
        self._known.pop(key, None)
        self._view.remove(key)

    def _advance(self, revision: int) -> None:
        self.revision = revision
        for wanted, waiter in self._waiting:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)
