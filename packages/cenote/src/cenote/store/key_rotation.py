"""Rotation of a ring's sealing keys: a new key, then every record re-sealed, then the old keys removed.

Whoever else opens what the ring seals has the new key before anything is sealed with it.  A rotation may be
killed at any moment: until the old keys are removed, all of them open, and the next rotation finishes what it
finds.  Before they are removed they are retired in etcd, and no write carries a text sealed with a retired
key (``writer.py``), so that a slow request cannot leave a record that nobody can open.

Records are re-sealed as JSON text, whatever their kind, so that no field can be forgotten or dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from typing import ParamSpec, Protocol

import msgspec

from cenote.errors import Busy, CenoteError
from cenote.model.event_records import Difference, Note
from cenote.security import sealing_keys
from cenote.security.sealing import Sealer, sealing_keys_in
from cenote.security.sealing_keys import SealingKey
from cenote.store import audit_log, etcd_messages, history
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys
from cenote.store.retry import retrying
from cenote.store.writer import Writer

log = logging.getLogger(__name__)

PAGE = 100  # records; a listing is decoded between two turns of the event loop
PASSES = 10
P = ParamSpec("P")


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """How far a rotation is: running, done or failed, and why.  ``removed`` are the ids of the old keys."""

    ring: str
    state: str
    message: str
    resealed: int = 0
    records: int = 0
    removed: tuple[str, ...] = ()


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the ring and how many records hold texts sealed with it; None while a rotation counts."""

    id: str
    made_at: datetime
    seals: bool
    records: int | None


class Holders(Protocol):
    """Those beside the API that open what a ring seals."""

    async def add(self, key: SealingKey) -> None:
        """Return once all of them can open what the key seals; an error in words if they cannot."""
        ...

    async def seal(self, key: SealingKey) -> None:
        """Return once all of them that seal do it with this key."""
        ...

    async def keep(self, key: SealingKey) -> None:
        """Have all of them remove every other key."""
        ...


class _Nobody:
    async def add(self, key: SealingKey) -> None:
        pass

    async def seal(self, key: SealingKey) -> None:
        pass

    async def keep(self, key: SealingKey) -> None:
        pass


NOBODY: Holders = _Nobody()


class KeyRotation:
    """Runs one rotation at a time, in the background; ``store.key_rotation``."""

    def __init__(self, client: EtcdClient, writer: Writer, keys: Keys) -> None:
        self._client = client
        self._writer = writer
        self._keys = keys
        self._task: asyncio.Task[None] | None = None
        self.last: Rotation | None = None  # of this process

    def start(
        self,
        sealer: Sealer,
        note: Note,
        out_of_reach: Collection[str],
        ring: str = "api",
        holders: Holders = NOBODY,
    ) -> Rotation:
        """Begin a rotation; Busy while one is running, or while a host that needs the key is out of reach.

        That one could not open what the new key seals.
        """
        if self._task is not None and not self._task.done():
            raise Busy("The sealing keys are being rotated already.")
        if out_of_reach:
            names = ", ".join(sorted(out_of_reach))
            raise Busy(
                f"The sealing keys cannot be rotated while these hosts are out of reach: {names}. Wait until "
                "they are back, or remove them; hosts without --address are out of reach of one another."
            )
        self.last = Rotation(ring=ring, state="running", message="a new key is being added")
        self._task = asyncio.create_task(self._run(sealer, note, ring, holders), name="key rotation")
        return self.last

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def uses(self, sealer: Sealer) -> list[KeyUse]:
        """Return the keys of the ring, the newest first, and how many records each has sealed."""
        running = self.last is not None and self.last.state == "running"
        counts = None if running else await retrying(self._counts)
        newest = sealer.keys[-1]
        return [
            KeyUse(
                id=key.id,
                made_at=key.made_at,
                seals=key is newest,
                records=None if counts is None else counts[key.id],
            )
            for key in reversed(sealer.keys)
        ]

    async def _run(self, sealer: Sealer, note: Note, ring: str, holders: Holders) -> None:
        try:
            await self._rotate(sealer, note, ring, holders)
        except CenoteError as error:
            log.warning("the rotation of the sealing keys stopped: %s", error)
            self._fail(error.message)
        except Exception:
            log.exception("the rotation of the sealing keys failed: a defect in Cenote")
            self._fail("an unexpected error; see Cenote's log")

    def _fail(self, why: str) -> None:
        assert self.last is not None
        message = f"{why}; all keys are kept, and another rotation finishes this one"
        self.last = msgspec.structs.replace(self.last, state="failed", message=message)

    async def _rotate(self, sealer: Sealer, note: Note, ring: str, holders: Holders) -> None:
        cut_off = len(sealer.keys) > 1  # an earlier rotation, which is finished here
        newest_key = sealing_keys.latest(sealer.keys) if cut_off else sealing_keys.new_key(sealer.keys)
        await holders.add(newest_key)
        await _to_the_end(sealer.add_key, newest_key)
        await holders.seal(newest_key)
        *olds, newest = (key.id for key in sealer.keys)
        await self._write(
            [], note, Difference(what=f"sealing key of ring {ring}", before=olds[-1], after=newest)
        )
        log.info("the sealing key %s seals from now on; re-sealing what %s sealed", newest, ", ".join(olds))
        resealed = await self._reseal_all(sealer, 0)
        if damaged := await retrying(lambda: self._damaged(sealer, olds)):
            raise CenoteError(f"these records hold secrets that do not open: {', '.join(damaged)}")
        retired = [etcd_messages.put(self._keys.retired_key(old), newest.encode()) for old in olds]
        done = f"The sealing key {newest} replaced {', '.join(olds)}; {resealed} records were re-sealed."
        await self._write(retired, Note(what=done))
        for _ in range(PASSES):
            more = await self._reseal_all(sealer, resealed)
            if more == resealed:
                break
            resealed = more
        else:
            raise Busy("records change faster than they are re-sealed")
        await holders.keep(newest_key)
        await _to_the_end(sealer.remove_keys, olds)
        log.info("%s", done)
        self.last = Rotation(
            ring=ring,
            state="done",
            message=f"the old keys are removed: {', '.join(olds)}",
            resealed=resealed,
            records=resealed,
            removed=tuple(olds),
        )

    async def _reseal_all(self, sealer: Sealer, before: int) -> int:
        """Re-seal every record that an old key has sealed; return how many there are with those of before."""
        found = await retrying(lambda: self._sealed_with_old_keys(sealer))
        for number, key in enumerate(found):
            assert self.last is not None
            self.last = msgspec.structs.replace(
                self.last,
                message="records are being re-sealed",
                resealed=before + number,
                records=before + len(found),
            )
            await self._reseal(sealer, key)
        return before + len(found)

    async def _sealed_with_old_keys(self, sealer: Sealer) -> list[str]:
        return [key async for key, text in self._texts() if sealer.reseal(text) != text]

    async def _damaged(self, sealer: Sealer, olds: Collection[str]) -> list[str]:
        """Return the records with a text of an old key that does not open.

        Once that key is retired, no write of such a record would be accepted.
        """
        return [
            key
            async for key, text in self._texts()
            if not set(olds).isdisjoint(sealing_keys_in(sealer.reseal(text)))
        ]

    async def _reseal(self, sealer: Sealer, key: str) -> None:
        """Re-seal one record, unless it goes away; a write of somebody else's in between is kept."""
        while (found := await retrying(lambda: self._client.read(key))) is not None:
            text = self._text(key, found.value)
            resealed = sealer.reseal(text)
            if resealed == text:
                return
            unchanged = etcd_messages.unchanged(key, found.mod_revision)
            value = history.pack(resealed) if self._is_history(key) else resealed
            outcome = await self._writer.write([unchanged], [etcd_messages.replace(key, value)])
            if outcome.revision:
                return

    async def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        async for _, text in self._texts():
            counts.update(sealing_keys_in(text))
        return counts

    async def _texts(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the key and the JSON of every record, of the history as well."""
        async for page in self._client.pages(self._keys.prefix, PAGE):
            for found in page.found:
                key = found.key.decode()
                yield key, self._text(key, found.value)

    def _is_history(self, key: str) -> bool:
        return key.startswith(self._keys.all_history)

    def _text(self, key: str, value: bytes) -> bytes:
        if not self._is_history(key):
            return value
        try:
            return history.unpack(value)
        except ValueError:
            return b""  # nobody can read what it holds

    async def _write(
        self, operations: list[etcd_messages.EtcdOperation], note: Note, *changes: Difference
    ) -> None:
        noted = audit_log.operations(self._keys, note, changes)
        await self._writer.write([], [*operations, *noted])


async def _to_the_end(change: Callable[P, object], *given: P.args, **named: P.kwargs) -> None:
    """Change the file of a ring in a thread, which ends before this does, even if it is cancelled."""
    changing = asyncio.create_task(asyncio.to_thread(change, *given, **named))
    try:
        await asyncio.shield(changing)
    except asyncio.CancelledError:
        await asyncio.wait([changing])
        raise
