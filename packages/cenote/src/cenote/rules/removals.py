"""Removals: users and databases that were deleted and that the server may still have.

Dropping takes as long as customers' locks, replication slots and sessions make it take.  The record keeps
what is being removed, so that its name is not given to another owner before, with the old rows in it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.records import Cluster, Removal, RemovalKind
from cenote.model.status_records import NodeStatus

# Removals stay in the record after the drop, for a DELETE that is sent again.
MOST_FINISHED = 50

NEW = timedelta(seconds=15)


def pending(cluster: Cluster, seen: NodeStatus | None) -> tuple[Removal, ...]:
    """Return the removals that the agent has not seen finished."""
    gone = frozenset(() if seen is None else seen.gone)
    return tuple(removal for removal in cluster.removing if removal.id not in gone)


def is_pending(cluster: Cluster, kind: RemovalKind, name: str, seen: NodeStatus | None) -> bool:
    """Return whether a user or database of this name may still be on the server."""
    return any((one.kind, one.name) == (kind, name) for one in pending(cluster, seen))


def count(cluster: Cluster, kind: RemovalKind, seen: NodeStatus | None) -> int:
    """Return how many users or databases may be on the server beside those in the record."""
    return sum(one.kind is kind for one in pending(cluster, seen))


def is_new(cluster: Cluster, now: datetime) -> bool:
    """Return whether a user was removed just now, so that standbys may be about to replay its drop."""
    users = (one for one in cluster.removing if one.kind is RemovalKind.USER)
    return any(now - NEW < one.at < now + NEW for one in users)


def in_words(cluster: Cluster, seen: NodeStatus | None) -> list[str]:
    """Describe each pending removal, with the reason if an attempt has failed."""
    reasons = {} if seen is None else seen.remaining
    return [
        f"{one.kind} {one.name!r} is being removed" + (f": {reason}" if reason else "")
        for one in pending(cluster, seen)
        for reason in [reasons.get(str(one.id), "")]
    ]


def why(cluster: Cluster, kind: RemovalKind, name: str, seen: NodeStatus | None) -> str:
    """Describe the pending removal of this name; the newest one, if there are several.

    Without an attempt that has failed, the reason is what keeps the agent from the node as a whole.
    """
    found = [one for one in pending(cluster, seen) if (one.kind, one.name) == (kind, name)]
    if not found:
        return ""
    reason = ""
    if seen is not None:
        reason = seen.remaining.get(str(found[-1].id), "")
        reason = reason or (seen.reason if seen.failing or seen.waiting else "")
    return f"{kind} {name!r} is being removed" + (f": {reason}" if reason else "")


def begin(cluster: Cluster, kind: RemovalKind, name: str, seen: NodeStatus | None) -> Cluster:
    """Return the cluster with a removal of this name noted, and without the oldest finished ones."""
    waiting = {one.id for one in pending(cluster, seen)}
    kept = {one.id for one in [one for one in cluster.removing if one.id not in waiting][-MOST_FINISHED:]}
    removing = [one for one in cluster.removing if one.id in waiting | kept]
    at = datetime.now(UTC).replace(microsecond=0)
    return replace(cluster, removing=(*removing, Removal(id=uuid4(), kind=kind, name=name, at=at)))


def free_name(cluster: Cluster, kind: RemovalKind, name: str, seen: NodeStatus | None) -> Cluster:
    """Return the cluster ready for a new thing of this name; Busy while the old one may still be there."""
    if is_pending(cluster, kind, name, seen):
        raise Busy(f"{kind} name is not available yet: {why(cluster, kind, name, seen)}")
    removing = tuple(one for one in cluster.removing if (one.kind, one.name) != (kind, name))
    return cluster if removing == cluster.removing else replace(cluster, removing=removing)
