"""Optimistic concurrency: decide on the cache, write on the condition that nothing has changed, else again.

Nothing is acknowledged or refused from the cache alone, since another service may have written what the watch
has not delivered yet: a decision that writes nothing is confirmed by a linearizable read of the keys that it
rests on.  One that writes is confirmed by the conditions of its transaction.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from cenote.errors import CenoteError, Conflict
from cenote.store import etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.writer import SealingKeyRetired, Writer, WriteResult

ATTEMPTS = 50  # while others write the same records; of each round at least one gets through
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1


class Transaction(msgspec.Struct, frozen=True):
    """What to write, and the error if its conditions fail although the decision still stands.

    ``look`` are keys that ``refused`` is given the values of.
    """

    conditions: list[etcd_messages.Condition]
    operations: list[etcd_messages.EtcdOperation]
    refused: Callable[[WriteResult], CenoteError]
    look: list[str] = []


Decide: TypeAlias = Callable[[], Transaction | None]


async def commit(
    cache: WatchCache,
    writer: Writer,
    decide: Decide,
    *,
    keys: Iterable[str] = (),
    folders: Iterable[str] = (),
) -> int:
    """Write what ``decide`` returns; return the revision, or 0 if there is nothing to write.

    ``keys`` and the keys in ``folders`` are what it decides on.  It is called again when those have changed,
    also after it has returned None or raised a refusal.  Conflict after many attempts.
    """
    keys, folders = tuple(keys), tuple(folders)
    for attempt in range(ATTEMPTS):
        rested_on = cache.versions(keys, folders)
        refusal: CenoteError | None = None
        transaction: Transaction | None = None
        try:
            transaction = decide()
        except CenoteError as error:
            refusal = error
        if transaction is not None:
            try:
                outcome = await writer.write(transaction.conditions, transaction.operations, transaction.look)
            except SealingKeyRetired as error:
                refusal = error
            else:
                if outcome.revision:
                    return outcome.revision
                refusal = transaction.refused(outcome)
        await cache.refresh(keys, folders)
        if cache.versions(keys, folders) == rested_on:
            if refusal is not None:
                raise refusal
            return 0
        if transaction is not None:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spreads contenders
    raise Conflict("Others change this all the time; try again.")
