"""Removal of what is kept for a time only: events, past records, tombstones.

It reads keys where they say enough, and the events of a cluster only when there are many or old ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import msgspec

from cenote.model.records import Event
from cenote.store import audit_log, etcd_messages, history
from cenote.store.client import EtcdClient
from cenote.store.encoding import NewerFormat, decode
from cenote.store.keys import Keys
from cenote.store.retry import retrying
from cenote.store.tables import Tables
from cenote.store.writer import Writer

PAGE = 1000
AT_ONCE = 100  # etcd takes 128 operations in a transaction
TOMBSTONES_FOR = timedelta(days=30)

_events = msgspec.json.Decoder(Event)


async def prune(
    client: EtcdClient,
    writer: Writer,
    keys: Keys,
    tables: Tables,
    now: datetime,
    *conditions: etcd_messages.Condition,
) -> int:
    """Remove all that is not kept any longer, while ``conditions`` hold; return how many keys that was."""
    gone = [
        *await _past_records(client, keys, now),
        *await _old_events(client, keys, now),
        *(keys.deleted(id) for id, stone in list(tables.deleted.items()) if now - stone.at > TOMBSTONES_FOR),
    ]
    for some in _batches(gone):
        await writer.write(list(conditions), list(map(etcd_messages.delete, some)))
    return len(gone)


async def _past_records(client: EtcdClient, keys: Keys, now: datetime) -> list[str]:
    names = await retrying(functools.partial(_names, client, keys.all_history))
    return [
        key
        for _, names_of_one in groupby(names, lambda name: name.rpartition("/")[0])
        for key in history.to_prune(filter(None, map(history.entry_of, names_of_one)), now)
    ]


async def _old_events(client: EtcdClient, keys: Keys, now: datetime) -> list[str]:
    """Return the keys of events to remove; an id begins with its time, so most need not be read."""
    names = await retrying(functools.partial(_names, client, keys.all_events))
    oldest = f"{audit_log.milliseconds(now - audit_log.KEPT_FOR):012x}"
    gone: list[str] = []
    for folder, of_one in groupby(names, lambda name: name.rpartition("/")[0] + "/"):
        found = list(of_one)
        if len(found) > audit_log.MOST_OF_A_TOKEN or found[0].removeprefix(folder) < oldest:
            gone += await retrying(functools.partial(_old_events_of, client, folder, now))
    return gone


async def _old_events_of(client: EtcdClient, folder: str, now: datetime) -> list[str]:
    events: list[Event] = []
    async for page in client.pages(folder, PAGE):
        events += filter(None, map(_event, page.found))
    return [folder + id for id in audit_log.to_prune(events, now)]


def _event(found: etcd_messages.KeyValue) -> Event | None:
    """Return an event; None for one that this version cannot read, which is left for another."""
    try:
        return decode(found.key.decode(), found.value, _events)
    except (NewerFormat, msgspec.DecodeError):
        return None


async def _names(client: EtcdClient, folder: str) -> list[str]:
    return [
        found.key.decode()
        async for page in client.pages(folder, PAGE, keys_only=True)
        for found in page.found
    ]


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))
