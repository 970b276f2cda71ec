"""Hosts that do not answer: which of them a change waits for, and what it says of them.

A change waits for the host that it concerns, and not for one that is lost.  One that takes access away is the
exception: a host that is cut off goes on letting clients in, so such a change is refused as not in force, by
the host's name, until the host is back or was removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cenote.model.records import Cluster
from cenote.model.topology import has_standbys
from cenote.store import Store

GRACE = timedelta(seconds=3)  # an agent that is started again is waited for


def lost_since(store: Store, host_id: str, began: datetime) -> datetime | None:
    """Return since when a host has been lost, None for one that answers or is being started again.

    Nothing is known of hosts while etcd does not answer.  ``began`` is when this process did: it does not
    know of absences before.
    """
    if not store.connected or host_id in store.presences():
        return None
    absence = store.absences().get(host_id)
    since = (absence and absence.since) or began
    return since if datetime.now(UTC) - since >= GRACE else None


def reason(store: Store, cluster: Cluster, began: datetime) -> str:
    """Return why nothing of a change comes to the cluster's writer, "" if its host answers."""
    return of_host(store, store.shown_node(cluster).host, began)


def of_host(store: Store, host_id: str, began: datetime) -> str:
    """Return in words that a host is lost, "" if it is not."""
    since = lost_since(store, host_id, began)
    return "" if since is None else f"the host {name_of(store, host_id)} does not answer"


def access_reason(store: Store, cluster: Cluster, began: datetime) -> str:
    """Return the same for a change that takes access away."""
    away = (of_host(store, node.host, began) for node in cluster.nodes if node.lost_at is None)
    found = reason(store, cluster, began) or (next(filter(None, away), "") if has_standbys(cluster) else "")
    return found and f"{found}, and may go on letting clients in until it is back or removed"


def was_removed(store: Store, cluster: Cluster) -> bool:
    """Return whether the cluster's host was removed as lost: its administrator says that it is no more."""
    return store.shown_node(cluster).lost_at is not None


def names(store: Store, host_ids: Iterable[str]) -> str:
    return ", ".join(sorted(name_of(store, id) for id in host_ids))


def name_of(store: Store, host_id: str) -> str:
    """Return the name of a host for a text, its id if it is not known."""
    host = store.host(host_id)
    return host.name if host is not None and host.name.isprintable() else host_id
