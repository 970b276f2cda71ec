"""Removal of what is kept for a time only: events, past records, tombstones.

It reads keys where they say enough, and the events of a cluster only when there are many or old ones.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from cenote.model.event_records import Event
from cenote.store import audit_log, etcd_messages, history
from cenote.store.client import EtcdClient
from cenote.store.encoding import NewerFormat, decode
from cenote.store.event_ids import milliseconds
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
    removed = 0
    async for gone in _gone(client, keys, tables, now):
        await _remove(writer, gone, conditions)
        removed += len(gone)
    return removed


async def thin_history(client: EtcdClient, writer: Writer, folder: str, now: datetime) -> None:
    """Remove what is not kept any longer of the history of one cluster."""
    async for _, names in _by_folder(client, folder):
        await _remove(writer, history.to_prune(filter(None, map(history.entry_of, names)), now))


async def _gone(client: EtcdClient, keys: Keys, tables: Tables, now: datetime) -> AsyncIterator[list[str]]:
    """Yield the keys to remove, those of one cluster at a time."""
    async for _, names in _by_folder(client, keys.all_history):
        yield history.to_prune(filter(None, map(history.entry_of, names)), now)
    # An id begins with its time, so most events need not be read.
    oldest = f"{milliseconds(now - audit_log.KEPT_FOR):012x}"
    async for folder, names in _by_folder(client, keys.all_events):
        if len(names) > audit_log.MOST_OF_A_TOKEN or names[0].removeprefix(folder) < oldest:
            yield await retrying(functools.partial(_old_events_of, client, folder, now))
    yield [keys.deleted(id) for id, stone in list(tables.deleted.items()) if now - stone.at > TOMBSTONES_FOR]


async def _remove(
    writer: Writer, gone: Sequence[str], conditions: Sequence[etcd_messages.Condition] = ()
) -> None:
    for some in _batches(gone):
        await writer.write(list(conditions), list(map(etcd_messages.delete, some)))


async def _old_events_of(client: EtcdClient, folder: str, now: datetime) -> list[str]:
    found: list[tuple[int, str, Event]] = []
    async for page in client.pages(folder, PAGE):
        # Those that were written at once, by a migration, are in the order of their ids.
        found += [(one.mod_revision, event.id, event) for one in page.found if (event := _event(one))]
    events = [event for _, _, event in sorted(found, key=lambda one: one[:2])]
    return [folder + id for id in audit_log.to_prune(events, now)]


def _event(found: etcd_messages.KeyValue) -> Event | None:
    """Return an event; None for one that this version cannot read, which is left for another."""
    try:
        return decode(found.key.decode(), found.value, _events)
    except (NewerFormat, msgspec.DecodeError):
        return None


async def _by_folder(client: EtcdClient, prefix: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield each folder below ``prefix`` with its keys; only those of one are in memory."""
    current, names = "", list[str]()
    async for page in client.pages(prefix, PAGE, keys_only=True):
        for found in page.found:
            name = found.key.decode()
            folder = name.rpartition("/")[0] + "/"
            if folder != current and names:
                yield current, names
                names = []
            current = folder
            names.append(name)
    if names:
        yield current, names


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))
