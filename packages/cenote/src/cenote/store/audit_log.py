"""The audit log: who changed what, written in the same transaction as the change.

So there is no change without its event, and no event of a change that did not happen.  Events lie below
their cluster's id and are read by range; ``to_prune`` says which are no longer kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cenote.model.event_records import Difference, Event, Note
from cenote.model.records import Cluster
from cenote.rules import differences, in_force
from cenote.rules.differences import NameOf
from cenote.store import etcd_messages
from cenote.store.encoding import encode
from cenote.store.keys import Keys

KEPT_FOR = timedelta(days=90)
MOST_OF_A_CLUSTER = 1_000
MOST_OF_A_TOKEN = 300  # of one cluster's events, so that neither a token nor we displace what others did
_AT_ONCE = 40  # refusals removed with one write, so that a lower bound is reached again


def of_change(
    keys: Keys, note: Note, before: Cluster | None, after: Cluster, name_of: NameOf
) -> list[etcd_messages.EtcdOperation]:
    """Return the operations that write the event of a change; ``before`` is None for a new cluster."""
    changes, more = differences.of_cluster(before, after, name_of)
    known = () if before is None else before.removing
    concerned = in_force.ALL if before is None else in_force.concerned(before, after)
    at = datetime.now(UTC)
    event = Event(
        id=keys.event_ids.new(at),
        at=at.replace(microsecond=0),
        note=note,
        cluster_id=after.id,
        cluster_name=after.name,
        changes=changes,
        more=more,
        parts=tuple(sorted(concerned)),
        removing=tuple(removal.id for removal in after.removing if removal not in known),
    )
    return [_put(keys, event)]


def operations(
    keys: Keys, note: Note, changes: tuple[Difference, ...] = ()
) -> list[etcd_messages.EtcdOperation]:
    """Return the operations that write the event of a change that is of no cluster."""
    at = datetime.now(UTC)
    return [
        _put(keys, Event(id=keys.event_ids.new(at), at=at.replace(microsecond=0), note=note, changes=changes))
    ]


def _put(keys: Keys, event: Event) -> etcd_messages.EtcdOperation:
    return etcd_messages.put(keys.event(event.cluster_id, event.id), encode(event))


def to_prune(events: Sequence[Event], now: datetime) -> list[str]:
    """Return the ids of a cluster's events that are too old, or that too many newer ones follow.

    The events are in the order in which they were written, which the clock may not have been.
    """
    kept = 0
    by_token: Counter[object] = Counter()
    gone = []
    for event in reversed(events):
        token = event.note.token_id  # None: the service itself, such as a server that crashes all the time
        full = by_token[token] >= MOST_OF_A_TOKEN
        if kept >= MOST_OF_A_CLUSTER or full or now - event.at > KEPT_FOR:
            gone.append(event.id)
            continue
        kept += 1
        by_token[token] += 1
    return gone


def oldest_beyond(known: Iterable[str], most: int) -> list[str]:
    """Return the oldest ids that exceed a limit with a new one."""
    ids = sorted(known)
    return ids[: min(_AT_ONCE, max(0, len(ids) + 1 - most))]
