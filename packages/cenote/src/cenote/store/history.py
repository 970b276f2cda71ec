"""The history of clusters' records: what each was before it was changed, for a restore to that moment.

A change writes the record that it replaces, compressed, in its own transaction.  The last part of the key is
``<time>-<revision>-<bytes>`` in hexadecimal (milliseconds, the replaced revision, the size of the value), so
that what is no longer kept is found without reading a value.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from cenote.model.records import Cluster, PastRecord
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode, encode
from cenote.store.event_ids import milliseconds
from cenote.store.keys import Keys

KEPT_FOR = timedelta(days=7)
MOST_BYTES = 4 << 20  # of one cluster
PAGE = 500

_past = msgspec.json.Decoder(PastRecord)
_cluster = msgspec.json.Decoder(Cluster)


class Entry(NamedTuple):
    """An entry as its key tells it: when it was replaced (Unix milliseconds), and its size in bytes."""

    key: str
    replaced_at: int
    size: int


def operation(
    keys: Keys, cluster: Cluster, revision: int, at: datetime | None = None
) -> etcd_messages.EtcdOperation:
    """Return the operation that keeps the record of a cluster, which a change of now replaces."""
    at = at or datetime.now(UTC)
    value = pack(encode(PastRecord(replaced_at=at, record=msgspec.Raw(encode(cluster)))))
    return etcd_messages.put(
        f"{keys.history(cluster.id)}{milliseconds(at):012x}-{revision:x}-{len(value):x}", value
    )


def pack(text: bytes) -> bytes:
    return zlib.compress(text, 1)  # as small as the best level within some percent, in a third of the time


def unpack(value: bytes) -> bytes:
    """Return the JSON of an entry, in which sealed texts can be found; ValueError when it is damaged."""
    try:
        return zlib.decompress(value)
    except zlib.error:
        raise ValueError("an entry of the history is damaged") from None


def record_in(key: str, value: bytes) -> tuple[datetime, Cluster]:
    """Return until when a record was valid, and the record; NewerFormat as for any record."""
    past = decode(key, unpack(value), _past)
    return past.replaced_at, decode(key, bytes(past.record), _cluster)


async def records(client: EtcdClient, keys: Keys, cluster_id: UUID) -> list[tuple[datetime, Cluster]]:
    """Return what ``record_in`` does of all entries of a cluster, the oldest first."""
    return [
        record_in(found.key.decode(), found.value)
        async for page in client.pages(keys.history(cluster_id), PAGE)
        for found in page.found
    ]


def entry_of(key: str) -> Entry | None:
    """Return what a key tells; None for one that is not of the history."""
    try:
        at, _, size = (int(part, 16) for part in key.rpartition("/")[2].split("-"))
    except ValueError:
        return None
    return Entry(key, at, size)


def cluster_of(keys: Keys, key: str) -> UUID:
    return UUID(key.removeprefix(keys.all_history).partition("/")[0])


def to_prune(entries: Iterable[Entry], now: datetime) -> list[str]:
    """Return the keys of a cluster's entries to remove: the old ones, and those that were valid shortest.

    What is thinned so is answered by the record that came next.
    """
    oldest = milliseconds(now - KEPT_FOR)
    found = sorted(entries, key=lambda entry: entry.replaced_at)
    gone = [entry for entry in found if entry.replaced_at < oldest]
    kept = found[len(gone) :]
    excess = sum(entry.size for entry in kept) - MOST_BYTES
    if excess > 0:
        since = [oldest, *(entry.replaced_at for entry in kept)]
        valid = {entry.key: entry.replaced_at - before for entry, before in zip(kept, since, strict=False)}
        for entry in sorted(kept, key=lambda entry: valid[entry.key]):
            if excess <= 0:
                break
            gone.append(entry)
            excess -= entry.size
    return [entry.key for entry in gone]
