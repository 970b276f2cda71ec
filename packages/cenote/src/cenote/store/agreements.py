"""What Patroni keeps in the store of each cluster that it runs, as far as anybody here has to know it.

It writes several keys a second and node under load.  So this is a watch of its own: the few keys that say
who leads, who may, whose data it is and what all nodes follow are kept, all others are dropped unread, and
only a change of those few is told.  Of the nodes' own keys it is kept which are gone: those whose Patroni has
not renewed its lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID

from cenote.errors import Unavailable
from cenote.model.failover import NOTHING_AGREED, Agreed, synchronous_standbys
from cenote.store.client import Compacted, EtcdClient, EtcdError
from cenote.store.keys import Keys

log = logging.getLogger(__name__)

PAGE = 500
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds
_KEPT = ("/leader", "/initialize", "/config", "/sync")
_MEMBERS = "members/"
_KEPT_ENDS = tuple(end.encode() for end in _KEPT)


class Agreements:
    """``on_change`` is called with the ids of clusters of which something has changed."""

    def __init__(self, client: EtcdClient, keys: Keys, on_change: Callable[[Iterable[UUID]], None]) -> None:
        self._client, self._prefix, self._on_change = client, keys.failover, on_change
        self._known: dict[UUID, Agreed] = {}
        self._silent: set[tuple[UUID, str]] = set()
        self._revision = 0
        self._following: asyncio.Task[None] | None = None

    def of(self, cluster_id: UUID) -> Agreed:
        return self._known.get(cluster_id, NOTHING_AGREED)

    def is_silent(self, cluster_id: UUID, node_name: str) -> bool:
        """Return whether the lease of a node's Patroni was seen to end, and not to begin again."""
        return (cluster_id, node_name) in self._silent

    async def open(self) -> None:
        """Read what there is; Unavailable when etcd does not answer.

        An etcd that does not let this process read it, since its rights are of a former version, is asked
        again later.
        """
        try:
            await self._load()
        except EtcdError as error:
            log.warning("what Patroni keeps cannot be read yet: %s", error)

    async def _load(self) -> None:
        known: dict[UUID, Agreed] = {}
        revision = 0
        async for page in self._client.pages(self._prefix, PAGE):
            revision = page.revision
            for found in page.found:
                self._note(known, found.key, found.value)
        former, self._known, self._revision = self._known, known, revision
        changed = {id for id in former.keys() | known.keys() if former.get(id) != known.get(id)}
        if changed:
            self._on_change(changed)

    def follow(self) -> None:
        self._following = asyncio.create_task(self._follow(), name="following Patroni")

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        pause, complete = SHORTEST_PAUSE, self._revision > 0
        while True:
            try:
                if not complete:
                    await self._load()
                    complete = True
                async with contextlib.aclosing(self._client.watch(self._prefix, self._revision + 1)) as watch:
                    async for watched in watch:
                        pause = SHORTEST_PAUSE
                        changed = set()
                        for event in watched.events:
                            value = None if event.type == "DELETE" else event.kv.value
                            changed |= self._note(self._known, event.kv.key, value)
                        self._revision = max(self._revision, watched.revision)
                        if changed:
                            self._on_change(changed)
            except Compacted:
                complete = False
            except Unavailable as error:
                log.debug("what Patroni keeps is not known at the moment: %s", error)
                complete = False  # the store may be another one, restored from a copy
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            except Exception:
                log.exception("the watch on Patroni's keys failed; listing them again")
                complete = False
                await asyncio.sleep(LONGEST_PAUSE)

    def _note(self, known: dict[UUID, Agreed], key: bytes, value: bytes | None) -> set[UUID]:
        """Take a key's value, None for one that is gone; return the cluster if that changes what is known."""
        if not key.endswith(_KEPT_ENDS) and _MEMBERS.encode() not in key:
            return set()
        scope, _, name = key.decode(errors="replace").removeprefix(self._prefix).partition("/")
        with contextlib.suppress(ValueError):
            id = UUID(scope)
            if name.startswith(_MEMBERS):
                change = self._silent.add if value is None else self._silent.discard
                change((id, name.removeprefix(_MEMBERS)))
                return set()
            before = known.get(id, NOTHING_AGREED)
            text = "" if value is None else value.decode(errors="replace")
            match name:
                case "leader":
                    after = replace(before, leader=text or None)
                case "initialize":
                    after = replace(before, identifier=text)
                case "config":
                    # Blanks at its end ask for a switch (``failover_requests``), and say nothing.
                    after = replace(before, shared=None if value is None else value.rstrip(b" "))
                case "sync":  # nobody has to look at once for that
                    known[id] = replace(before, may_lead=synchronous_standbys(value))
                    return set()
                case _:
                    return set()
            known[id] = after
            return {id} if after != before else set()
        return set()
