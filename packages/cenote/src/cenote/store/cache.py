"""The watch cache: all keys below a prefix in memory, listed once and then followed by a watch.

Changes are applied in etcd's order and a whole transaction at a time, so a reader never sees half of one;
only ``refresh`` runs ahead of the watch, for single keys.  While etcd is unreachable, reads are served from
the last known state.  Afterwards the watch resumes where it broke; if that history has been compacted, a new
listing is compared with the cache, so that deletions are noticed as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from cenote.errors import Unavailable
from cenote.store import etcd_messages
from cenote.store.client import Compacted, EtcdClient
from cenote.store.retry import retrying

log = logging.getLogger(__name__)

T = TypeVar("T")

# etcd walks the whole range for each page, so few large pages are much faster than many small ones.
PAGE = 1000
SLICE = 50  # keys decoded before yielding to other tasks; takes a few milliseconds
SEEN_SECONDS = 10.0  # how long a completed write waits until the cache has it
CLOSE_SECONDS = 0.5
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.3


class View(Protocol):
    """Decodes keys and keeps the records."""

    def put(self, key: str, value: bytes, revision: int) -> None: ...

    def remove(self, key: str) -> None: ...


class WatchCache:
    """Keeps ``view`` in step with etcd, and calls ``on_change`` with the changed keys after each step."""

    def __init__(
        self,
        client: EtcdClient,
        prefix: str,
        view: View,
        on_change: Callable[[set[str]], None],
        without: Sequence[str] = (),
        silent_for: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``without`` are folders below ``prefix`` that are not kept.

        ``silent_for`` tells for how many seconds etcd has not answered.
        """
        self._silent_for = silent_for
        self.revision = 0
        self.connected = False
        self._client = client
        self._prefix = prefix
        self._view = view
        self._on_change = on_change
        self._without = tuple(without)
        self._known: dict[str, int] = {}  # the revision at which each key last changed
        self._ahead: dict[
            str, int
        ] = {}  # keys that were refreshed ahead of the watch, and up to which revision
        self._listed_at: dict[str, int] = {}  # folders that were refreshed, and at which revision
        self._edits: Counter[str] = Counter()  # changes below each folder, for ``versions``
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._follower: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """List everything and start the watch; Unavailable if etcd stays unreachable."""
        await self.load()
        self.follow()

    async def load(self) -> None:
        """List everything; ``follow`` has to come after it."""
        await retrying(self._list)

    def follow(self) -> None:
        """Start the watch."""
        self._follower = asyncio.create_task(self._follow(), name="store watch")

    async def close(self) -> None:
        if self._follower is not None:
            # A connection that is cut off while it is being made leaves its socket open (in anyio).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    while not (self.connected or self._follower.done()):
                        await asyncio.sleep(0.005)
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
        self.connected = False

    async def wait_for_revision(self, revision: int, seconds: float) -> bool:
        """Wait until all changes up to ``revision`` are applied; return False after ``seconds``."""
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

    async def seen(self, revision: int) -> None:
        """Wait until a write is in the cache.  One that is late is no error, since the write has happened."""
        if not await self.wait_for_revision(revision, SEEN_SECONDS):
            log.warning("revision %d was written and has not arrived by the watch yet", revision)

    def complete_at(self, folder: str) -> int:
        """Return the revision up to which the cache has all keys in a folder."""
        return max(self.revision, self._listed_at.get(folder, 0))

    def versions(self, keys: Iterable[str] = (), folders: Iterable[str] = ()) -> list[int | None]:
        """Return a value that changes with any of these keys, and with any key directly in a folder."""
        return [*map(self._known.get, keys), *(self._edits[folder] for folder in folders)]

    async def refresh(self, keys: Iterable[str] = (), folders: Iterable[str] = ()) -> None:
        """Bring keys, and all keys in ``folders``, to what etcd holds now, without waiting for the watch.

        A linearizable read: afterwards the cache has every change that completed before the call.
        Unavailable if etcd stays unreachable.
        """
        differing, at = set(keys), dict[str, int]()
        for folder in folders:
            listed, at[folder] = await self._retrying(functools.partial(self._listed, folder))
            known = {key: revision for key, revision in self._known.items() if key.startswith(folder)}
            differing |= {key for key, _ in listed.items() ^ known.items()}
        for key in sorted(differing):
            found, revision = await self._retrying(functools.partial(self._client.read_at, key))
            self._overtake(key, found, revision)
        self._listed_at.update(at)

    async def _retrying(self, call: Callable[[], Awaitable[T]]) -> T:
        return await retrying(call, is_short=True, waited=self._silent_for())

    async def _listed(self, folder: str) -> tuple[dict[str, int], int]:
        listed: dict[str, int] = {}
        revision = 0
        async for page in self._client.pages(folder, PAGE, keys_only=True):
            revision = page.revision
            listed.update((found.key.decode(), found.mod_revision) for found in page.found)
        return listed, revision

    def _overtake(self, key: str, found: etcd_messages.KeyValue | None, revision: int) -> None:
        """Apply what ``key`` was at ``revision``, and have the watch skip what it brings of it up to then."""
        if revision <= max(self.revision, self._ahead.get(key, 0)):
            return
        if found is None and key in self._known:
            self._remove(key)
        elif found is not None and found.mod_revision > self._known.get(key, 0):
            self._put(key, found)
        else:
            return
        self._ahead[key] = revision
        self._on_change({key})

    async def _follow(self) -> None:
        pause, complete = SHORTEST_PAUSE, True
        while True:
            try:
                # A store behind the cache was restored from a copy or created anew: the histories differ.
                if not complete or await self._client.revision(self._prefix) < self.revision:
                    await self._list()
                    complete = True
                async with contextlib.aclosing(self._client.watch(self._prefix, self.revision + 1)) as watch:
                    async for watched in watch:
                        self.connected, pause = True, SHORTEST_PAUSE
                        self._apply(watched.events)
                        self._advance(max(self.revision, watched.revision))
            except Compacted:
                complete = False
            except Unavailable as error:
                if self.connected:
                    log.warning("%s; serving reads from the cache", error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            except Exception:
                # Whatever the defect, it must not freeze the cache for good.
                log.exception("the watch on etcd failed; listing everything again")
                complete = False
                await asyncio.sleep(LONGEST_PAUSE)
            finally:
                self.connected = False

    def _apply(self, events: list[etcd_messages.WatchEvent]) -> None:
        changed = set()
        for event in events:
            key, revision = event.kv.key.decode(), event.kv.mod_revision
            if key.startswith(self._without):
                continue
            if revision <= self.revision:
                continue  # after a break etcd may start a little earlier than asked
            if revision <= max(self._ahead.get(key, 0), self._listed_at.get(folder_of(key), 0)):
                continue  # a refresh has brought this, or what came after it
            if event.type == "DELETE":
                self._remove(key)
            else:
                self._put(key, event.kv)
            changed.add(key)
        if changed:
            self._on_change(changed)

    async def _list(self) -> None:
        """Bring the view to what etcd lists: the first time page by page, later in one step at the end."""
        first = not self._known
        behind = False
        seen: set[str] = set()
        new: list[etcd_messages.KeyValue] = []
        revision = 0
        async for page in self._client.pages(self._prefix, PAGE, without=self._without):
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
        self._listed_at.clear()
        self._ahead.clear()  # the listing may be older than a refresh; the watch brings the rest again
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
        self._edits[folder_of(key)] += 1
        self._view.put(key, found.value, found.mod_revision)

    def _remove(self, key: str) -> None:
        self._known.pop(key, None)
        self._edits[folder_of(key)] += 1
        self._view.remove(key)

    def _advance(self, revision: int) -> None:
        self.revision = revision
        if self._ahead and revision >= max(self._ahead.values()):
            self._ahead.clear()
        for wanted, waiter in self._waiting:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)


def folder_of(key: str) -> str:
    return key.rpartition("/")[0] + "/"
