"""The states of hosts, and what is said of them.  Pure.

A host is there while its agent keeps its presence.  One without is ``away``, which an agent that is started
again soon ends, and ``down`` once it has stayed away for longer: then nothing waits for it any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from cenote.model.fleet_records import Host, HostDrain, Presence
from cenote.model.records import Cluster
from cenote.model.topology import Absence, not_answering
from cenote.rules import record_formats

DOWN_SECONDS = (
    20.0  # after the end of the presence, whose lease lasts 10 s after the agent's last sign of life
)


class HostState(StrEnum):
    UP = "up"
    AWAY = "away"
    DOWN = "down"


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """When a presence ended: ``since`` by the clock, None if nobody saw it, and ``at`` by monotonic time."""

    since: datetime | None
    at: float


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How far a host that is drained is: ``moved`` of ``nodes`` have left it."""

    asked_at: datetime
    nodes: int
    moved: int

    @property
    def is_done(self) -> bool:
        return self.moved == self.nodes

    @property
    def words(self) -> str:
        if not self.nodes:
            return "drained; nothing was on it"
        return f"{'drained' if self.is_done else 'draining'}, {self.moved} of {self.nodes} moved"


def state(gone: Gone | None, now: float) -> HostState:
    """Return the state of a host whose presence has ended, None while it is there; ``now`` is monotonic."""
    if gone is None:
        return HostState.UP
    return HostState.DOWN if now - gone.at >= DOWN_SECONDS else HostState.AWAY


def gone(
    hosts: Iterable[str], presences: Mapping[str, Presence], ended: Mapping[str, Gone], opened: Gone
) -> dict[str, Gone]:
    """Return since when hosts are not there; of those that were away already, since this process looks."""
    return {id: ended.get(id, opened) for id in hosts if id not in presences}


def absences(
    hosts: Mapping[str, Host], away: Mapping[str, Gone], now: float, own: str = ""
) -> dict[str, Absence]:
    """Return what the topology of a cluster needs to know of the hosts that are not there.

    The host ``own`` is there, whose agent is away: it is never down.
    """
    found = {
        id: Absence(
            name=hosts[id].name if id in hosts else "",
            since=one.since,
            is_down=state(one, now) is HostState.DOWN,
        )
        for id, one in away.items()
    }
    if own in found:
        found[own] = Absence(since=found[own].since)
    return found


def nodes_on(host_id: str, clusters: Iterable[Cluster]) -> int:
    """Return how many nodes are on a host, those that are being removed included.

    Those of deleted clusters that are in the trash do not count.
    """
    return sum(has_part_of(cluster, host_id) for cluster in clusters if not cluster.is_put_away)


def has_part_of(cluster: Cluster, host_id: str) -> int:
    """Return how many nodes of a cluster are on a host, in the trash or not.

    Of a deleted cluster, those do not count whose data is gone there and is in its backups alone.
    """
    is_gone = cluster.is_put_away
    return sum(
        node.host == host_id and not (is_gone and node.lost_at is not None)
        for node in (*cluster.nodes, *cluster.left)
    )


def drained(drain: HostDrain | None, nodes: int) -> Drained | None:
    """Return how far the draining of a host with so many nodes is; None if it is not drained."""
    if drain is None:
        return None
    asked = max(drain.nodes, nodes)  # one that was created at the same moment came later
    return Drained(asked_at=drain.asked_at, nodes=asked, moved=asked - nodes)


def in_words(host: Host, state: HostState, since: datetime | None, drained: Drained | None) -> str:
    """Return what there is to say of a host; empty for one that is simply up."""
    told = [] if state is HostState.UP else [not_answering(host.name, since)]
    if record_formats.is_behind(host):
        told.append(f"runs {record_formats.in_words(host)}: until it is upgraded, no cluster can be moved")
    if drained is not None:
        told.append(drained.words)
    return "; ".join(told)
