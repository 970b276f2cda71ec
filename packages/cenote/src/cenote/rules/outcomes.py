"""The outcome of a change that an event tells of: whether it is in force, by what the agents report now.

The event itself is written with the change, before anything is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cenote.model.event_records import Event, EventType
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import in_force, removals


class OutcomeName(StrEnum):
    DONE = "done"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``reason`` says in words what a pending change waits for."""

    name: OutcomeName
    reason: str = ""


DONE = Outcome(OutcomeName.DONE)


def of_event(event: Event, cluster: Cluster | None, seen: NodeStatus | None) -> Outcome | None:
    """Return the outcome of an event, by the last report on the writer of its cluster.

    ``cluster`` is None when nothing is left of it; then it is not known of a change whether it was in force.
    """
    if event.note.refused:
        return Outcome(OutcomeName.REFUSED)
    if event.cluster_id is None or not (event.changes or event.note.token_id):
        return DONE  # records without a server, and what the service did by itself
    if event.note.type is EventType.CLUSTER_DELETE:
        return DONE if cluster is None else _pending("" if seen is None else seen.reason)
    if cluster is None:
        return None
    reason = _missing(event, seen) or _remaining(event, cluster, seen)
    return _pending(reason) if reason else DONE


def _missing(event: Event, seen: NodeStatus | None) -> str:
    """Return what keeps the change from being in force on the servers."""
    if event.changes and not event.parts:
        return ""  # none of them depends on it
    # An earlier version did not say which parts a change concerns.
    progress = in_force.progress(seen, event.revision, event.parts or in_force.ALL)
    return "" if progress.in_force else progress.reason


def _remaining(event: Event, cluster: Cluster, seen: NodeStatus | None) -> str:
    """Return what of the removals that the change has begun is still on the servers."""
    waiting = zip(removals.pending(cluster, seen), removals.in_words(cluster, seen), strict=True)
    return "; ".join(text for removal, text in waiting if removal.id in event.removing)


def _pending(reason: str) -> Outcome:
    return Outcome(OutcomeName.PENDING, reason or in_force.UNDER_WAY)
