"""Transactions whose outcome is always known, and which write nothing that a retired key has sealed.

A connection can break after etcd has carried out a transaction and before its response arrives.  So each
one also writes a unique value to a marker key that only this writer uses, and reads it when its conditions
fail: if the value is there, they fail because an earlier attempt succeeded.  So a retry is safe, and nothing
is written twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

import msgspec

from cenote.errors import Conflict
from cenote.security.sealing import sealing_keys_in
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient, LeaseLost
from cenote.store.keys import Keys
from cenote.store.retry import retrying

MARK_SECONDS = 3600  # marks vanish this long after their writer's last sign of life
RENEW_SECONDS = 1200

T = TypeVar("T")


class SealingKeyRetired(Conflict):
    """A value was sealed with a key that has been replaced since."""

    def __init__(self) -> None:
        super().__init__("The sealing key was replaced meanwhile; try again.")


class WriteResult(msgspec.Struct, frozen=True):
    """``revision`` is that of the write, 0 when a condition failed; ``found`` is then what the keys held."""

    revision: int
    found: dict[str, etcd_messages.KeyValue]


class Writer:
    """Writes transactions, for many callers at a time."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keys,
        owner: str = "api",
        silent_for: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``owner`` is the id of a host, or ``api``: it may write its own markers alone.

        ``silent_for`` tells for how many seconds etcd has not answered.
        """
        self._silent_for = silent_for
        self._client = client
        self._keys = keys
        self._owner = owner
        self._id = uuid4()
        self._free: list[str] = []  # keys for marks that no transaction under way can still write to
        self._made = 0
        self._lease = 0
        self._renew_at = 0.0

    async def write(
        self,
        conditions: list[etcd_messages.Condition],
        operations: list[etcd_messages.EtcdOperation],
        look: list[str] | None = None,
    ) -> WriteResult:
        """Carry out ``operations`` if all ``conditions`` hold, else read the keys in ``look``.

        Some condition must be false once it has happened, or else happening twice must do no harm.
        Unavailable when etcd does not answer for 10 seconds, those before the call included: it may or may
        not have happened.
        SealingKeyRetired when a value holds a text that was sealed with a retired key.
        """
        mark, word = self._free.pop() if self._free else self._new_mark(), uuid4().bytes
        retired = [self._keys.retired_key(id) for id in sorted(_sealed_with(operations))]
        conditions = [*conditions, *map(etcd_messages.missing, retired)]
        misses = [etcd_messages.get(key) for key in (mark, *(look or ()), *retired)]

        async def attempt() -> etcd_messages.TransactionResponse:
            done = [*operations, etcd_messages.put(mark, word, await self._leased())]
            return await self._client.transact(etcd_messages.TransactionRequest(conditions, done, misses))

        try:
            answer = await self.patiently(attempt)
        except LeaseLost:
            self._renew_at = 0.0
            answer = await self.patiently(attempt)  # lost again, it is a lease that the operations name
        self._free.append(mark)
        if answer.succeeded:
            return WriteResult(answer.header.revision, {})
        found = answer.read
        marked = found.pop(mark, None)
        if marked is not None and marked.value == word:
            return WriteResult(marked.mod_revision, {})
        if not found.keys().isdisjoint(retired):
            raise SealingKeyRetired
        return WriteResult(0, found)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what an idempotent call of etcd returns; Unavailable as for a write."""
        return await retrying(call, is_short=True, waited=self._silent_for())

    def _new_mark(self) -> str:
        self._made += 1
        return self._keys.mark(self._owner, self._id, self._made)

    async def _leased(self) -> int:
        if time.monotonic() >= self._renew_at:
            self._lease = await self._client.grant_lease(MARK_SECONDS)
            self._renew_at = time.monotonic() + RENEW_SECONDS
        return self._lease


def _sealed_with(operations: list[etcd_messages.EtcdOperation]) -> set[str]:
    puts = (one.request_put for one in operations if one.request_put is not None)
    return {id for put in puts for id in sealing_keys_in(put.value)}
