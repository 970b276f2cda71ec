"""The audit log: who changed what, written in the same transaction as the change.

So there is no change without its event, and no event of a change that did not happen.  Only the newest are
kept: a write that adds an event deletes the oldest.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from heapq import nsmallest

import msgspec

from cenote.model.records import Cluster, Event, Note
from cenote.store import etcd_messages
from cenote.store.tables import Keys

MOST_EVENTS = 10_000
_AT_ONCE = 40  # removed with one write, so that a lower bound is reached again


def operations(
    keys: Keys, known: Iterable[str], note: Note, cluster: Cluster | None
) -> list[etcd_messages.EtcdOperation]:
    """Return the operations that write an event and delete the oldest ones."""
    at = datetime.now(UTC)
    event = Event(
        id=new_id(at),
        at=at.replace(microsecond=0),
        note=note,
        cluster_id=None if cluster is None else cluster.id,
        cluster_name="" if cluster is None else cluster.name,
    )
    return [
        etcd_messages.put(keys.event(event.id), msgspec.json.encode(event)),
        *(etcd_messages.delete(keys.event(id)) for id in to_prune(known)),
    ]


def new_id(at: datetime) -> str:
    """Return an id that sorts after those of earlier milliseconds."""
    return f"{int(at.timestamp() * 1000):012x}{secrets.token_hex(4)}"


def to_prune(known: Iterable[str], most: int = MOST_EVENTS) -> list[str]:
    """Return the oldest events that exceed the limit with a new one."""
    ids = tuple(known)
    return nsmallest(min(_AT_ONCE, max(0, len(ids) + 1 - most)), ids)
