"""The choice of a host, and of ports on it, for a node.  Pure.

Able is a host that runs clusters, is there, is not drained, has the version, is where it was wished, and
has room.  Of these it is the one with the largest share left afterwards, of memory or of storage, whichever
is smaller, so that hosts fill evenly whatever their sizes.

Sizes are what a cluster may use at most, and most use little.  So without an overcommit factor nothing is
refused for lack of room: a laptop may run more small clusters than the sum of their sizes allows.  With one,
what is promised stays below what the host has times the factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import msgspec

from cenote.errors import Busy, CenoteError, Invalid, Unavailable
from cenote.model import catalog
from cenote.model.fleet_records import Host, HostRole
from cenote.model.records import Cluster, Node
from cenote.rules import port_allocation
from cenote.rules.host_states import HostState

GET_PATRONI = "Install it there (docs/failover.md), or ask for one node."
_NAMED = 5  # hosts in a message
_GIB = 1024


class Overcommit(msgspec.Struct, frozen=True, kw_only=True):
    """How often what a host has may be promised; None: without limit."""

    memory: float | None = None
    storage: float | None = None


NO_LIMITS = Overcommit()


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What clusters may use of a host."""

    memory_mib: int = 0
    storage_mib: int = 0
    nodes: int = 0

    def plus(self, cluster: Cluster) -> Promise:
        return Promise(
            memory_mib=self.memory_mib + catalog.SIZES[cluster.size].memory_mib,
            storage_mib=self.storage_mib + cluster.storage_mib,
            nodes=self.nodes + 1,
        )


NOTHING = Promise()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a node needs; ``host``, a name or an id, and ``zone`` are wishes, and empty without any.

    ``patroni``: it is one of several nodes.
    """

    version: str
    memory_mib: int
    storage_mib: int
    host: str = ""
    zone: str = ""
    patroni: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host with what is known of it.  ``taken`` are the ports that clusters have on it.

    ``former`` are those of deleted clusters, which want them again when they are undeleted.
    """

    host: Host
    state: HostState = HostState.UP
    drained: bool = False
    promised: Promise = NOTHING
    taken: Set[int] = frozenset()
    former: Set[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Placement:
    host: Host
    port: int
    pool_port: int
    metrics_port: int

    @property
    def ports(self) -> frozenset[int]:
        return frozenset({self.port, self.pool_port, self.metrics_port})


def promises(clusters: Iterable[Cluster]) -> dict[str, Promise]:
    """Return what is promised of each host, by its id.  A node counts until it is removed from the host.

    What is in the trash does not count: it goes before the disk is full.
    """
    found: dict[str, Promise] = {}
    for cluster in clusters:
        if cluster.is_put_away:
            continue
        for node in (*cluster.nodes, *cluster.left):
            found[node.host] = found.get(node.host, NOTHING).plus(cluster)
    return found


def former_ports(clusters: Iterable[Cluster]) -> dict[str, set[int]]:
    """Return the ports that deleted clusters have had on each host, by its id, and may have again."""
    found: dict[str, set[int]] = {}
    for cluster in clusters:
        for node in cluster.nodes if cluster.is_put_away else ():
            found.setdefault(node.host, set()).update(node.ports)
    return found


def with_free_ports(node: Node, candidate: Candidate) -> Node:
    """Return a node with its ports as far as they are free on its host, and free ones instead of others.

    Those that its host does not give out any more are none of them.
    Busy if no port is left.
    """
    host = candidate.host
    taken = set(candidate.taken) | set(host.busy_ports)
    offered = range(host.first_port, host.last_port + 1)
    if not taken & {node.port, node.pool_port} and node.port in offered and node.pool_port in offered:
        port: int | None = node.port
    else:
        port = port_allocation.free_pair(host, taken)
    if port is None:
        raise Busy(f"Every port on {host.name} is taken; delete a cluster or widen the range.")
    metrics, taken = node.metrics_port, taken | {port, port + 1}
    if metrics in taken or metrics not in offered:
        metrics = port_allocation.free_metrics_port(host, taken) or 0
    return msgspec.structs.replace(node, port=port, pool_port=port + 1, metrics_port=metrics)


def choose(
    wanted: Wanted,
    candidates: Iterable[Candidate],
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
) -> Placement:
    """Return the host for a node, and its ports there.

    A pair that is free on all hosts is preferred, since a cluster that moves keeps its ports then, and so is
    one that no deleted cluster has had.
    ``without`` are the ids of hosts that it must not be on.  Invalid for a wish that nothing can fulfil,
    Unavailable while no host is up that could, Busy while none has room or ports.
    """
    every = list(candidates)
    running = [one for one in every if HostRole.DATABASE in one.host.roles]
    able = [one for one in running if one.host.id not in without and not hindrance(wanted, one, limits)]
    if not able:
        raise _refusal(wanted, running, limits, without)
    able.sort(key=lambda one: _order(one, wanted.memory_mib, wanted.storage_mib))
    attempts = [
        *((one, every, one.former) for one in able),
        *((one, [one], one.former) for one in able),
        *((one, [one], frozenset()) for one in able),
    ]
    for one, others, avoided in attempts:
        if (found := free_ports(one, others, avoided)) is not None:
            return found
    raise Busy("Every port on every host is taken; delete a cluster or widen the range.")


def hindrance(wanted: Wanted, candidate: Candidate, limits: Overcommit = NO_LIMITS) -> str:
    """Return why a node cannot be on a host, to follow the host's name; empty if it can."""
    host = candidate.host
    if wanted.host and wanted.host not in (host.name, host.id):
        return "is not the host that was asked for"
    if HostRole.DATABASE not in host.roles:
        return "runs no clusters"
    if wanted.zone and wanted.zone != host.zone:
        return f"is in the zone {host.zone}" if host.zone else "is in no zone"
    if candidate.state is not HostState.UP:
        return "does not answer"
    if candidate.drained:
        return "is being drained"
    if wanted.version not in host.versions:
        return f"has no PostgreSQL {wanted.version}"
    if wanted.patroni and not host.patroni:
        return "has no Patroni"
    return lacking(wanted, candidate, limits)


def lacking(wanted: Wanted, candidate: Candidate, limits: Overcommit) -> str:
    """Return what of memory or storage a host has too little of for a node, in words; empty for nothing."""
    host, promised = candidate.host, candidate.promised
    told = []
    for what, need, had, given, factor in (
        ("memory", wanted.memory_mib, host.memory_mib, promised.memory_mib, limits.memory),
        ("storage", wanted.storage_mib, host.disk_mib, promised.storage_mib, limits.storage),
    ):
        if factor is None or not had:  # what a host has of storage may be unknown
            continue
        free = int(had * factor) - given
        if need > free:
            told.append(f"{in_gib(free)} of {what}" if free > 0 else f"no {what}")
    return f"has {' and '.join(told)} left" if told else ""


def check_growth(
    before: Cluster, after: Cluster, candidates: Iterable[Candidate], limits: Overcommit
) -> None:
    """Raise Busy if a host has too little left for a cluster that is resized; no limit, nothing is refused.

    What gets smaller, or stays as it is, is never refused.
    """
    memory = catalog.SIZES[after.size].memory_mib - catalog.SIZES[before.size].memory_mib
    storage = after.storage_mib - before.storage_mib
    more = Wanted(version=after.version, memory_mib=max(0, memory), storage_mib=max(0, storage))
    growing = Overcommit(
        memory=limits.memory if memory > 0 else None, storage=limits.storage if storage > 0 else None
    )
    on = {node.host for node in after.nodes}
    for one in candidates:
        if one.host.id in on and (told := lacking(more, one, growing)):
            raise Busy(
                f"The host {one.host.name} of the cluster {told}, too little for {after.size} with "
                f"{in_gib(after.storage_mib)} of storage. Move the cluster to another host first."
            )


def in_gib(mib: int) -> str:
    return f"{mib / _GIB:.3g} GiB"


def emptiest(candidates: Iterable[Candidate], memory_mib: int = 0, storage_mib: int = 0) -> Candidate | None:
    """Return the host with the largest share left, which the next node would be placed on."""
    return min(candidates, key=lambda one: _order(one, memory_mib, storage_mib), default=None)


def _order(candidate: Candidate, memory_mib: int, storage_mib: int) -> tuple[float, str, str]:
    """Return a key that sorts hosts for a node: the one with the most left comes first."""
    host = candidate.host
    return -_share_left(candidate, memory_mib, storage_mib), host.name, host.id


def _share_left(candidate: Candidate, memory_mib: int, storage_mib: int) -> float:
    """Return the share of a host that would be free with the node; negative where it is overcommitted."""
    host, promised = candidate.host, candidate.promised
    shares = [
        (had - given - need) / had
        for had, given, need in (
            (host.memory_mib, promised.memory_mib, memory_mib),
            (host.disk_mib, promised.storage_mib, storage_mib),
        )
        if had
    ]
    return min(shares, default=0.0)


def free_ports(candidate: Candidate, others: Iterable[Candidate], avoided: Set[int]) -> Placement | None:
    """Return the ports of a node on a host that none of the others uses either, or None."""
    host = candidate.host
    taken = set(candidate.taken | avoided).union(*(one.taken | set(one.host.busy_ports) for one in others))
    port = port_allocation.free_pair(host, taken)
    if port is None:
        return None
    metrics_port = port_allocation.free_metrics_port(host, taken | {port, port + 1})
    if metrics_port is None:
        return None
    return Placement(host, port, port + 1, metrics_port)


def _refusal(
    wanted: Wanted, running: Iterable[Candidate], limits: Overcommit, without: Set[str]
) -> CenoteError:
    """Return the error for a node that no host can take now, with the reason that is worth most."""
    left = [one for one in running if one.host.id not in without]
    if wanted.host:
        named = [one for one in left if wanted.host in (one.host.name, one.host.id)]
        if not named:
            return Invalid(f"cenote.host: no host that runs clusters is named {wanted.host[:80]!a}.")
        left = named
    if wanted.zone:
        there = [one for one in left if one.host.zone == wanted.zone]
        if not there:
            zones = sorted({one.host.zone for one in left} - {""})
            offered = f"; there is {', '.join(zones)}" if zones else "; no host is in one"
            return Invalid(f"cenote.zone: no host is in the zone {wanted.zone[:80]!a}{offered}.")
        left = there
    able = [one for one in left if wanted.version in one.host.versions]
    hindering = hindrances(wanted, able, limits)
    if wanted.patroni and able and not any(one.host.patroni for one in able):
        return Busy(f"No host has Patroni, which clusters of several nodes need.{hindering} {GET_PATRONI}")
    up = [one for one in able if one.state is HostState.UP]
    if not up:
        return Unavailable(f"No host with PostgreSQL {wanted.version} is up.{hindering}")
    if all(one.drained for one in up):
        return Busy(f"No host takes new clusters now.{hindering}")
    return Busy(
        f"No host has room for {in_gib(wanted.memory_mib)} of memory and {in_gib(wanted.storage_mib)} of "
        f"storage.{hindering} Choose a smaller size, delete a cluster, or add a host."
    )


def hindrances(wanted: Wanted, candidates: Iterable[Candidate], limits: Overcommit) -> str:
    """Return what hinders each of the hosts, as sentences."""
    reasons = sorted((one.host.name, hindrance(wanted, one, limits)) for one in candidates)
    told = [f"{name} {reason}" for name, reason in reasons if reason]
    more = [f"and {len(told) - _NAMED} more"] if len(told) > _NAMED else []
    return f" {'; '.join([*told[:_NAMED], *more])}." if told else ""


def fits(wanted: Wanted, candidate: Candidate, limits: Overcommit = NO_LIMITS) -> bool:
    """Return whether a host takes a node, and has enough left for it even without an overcommit factor."""
    within = Overcommit(
        memory=1.0 if limits.memory is None else limits.memory,
        storage=1.0 if limits.storage is None else limits.storage,
    )
    return not hindrance(wanted, candidate, within)


def left_in_words(candidate: Candidate) -> str:
    """Return how much of a host is not promised yet; overcommitted, how much too much is."""
    told = []
    for what, had, given in (
        ("memory", candidate.host.memory_mib, candidate.promised.memory_mib),
        ("storage", candidate.host.disk_mib, candidate.promised.storage_mib),
    ):
        if not had:
            continue
        if given > had:
            told.append(f"{in_gib(given - had)} more {what} allocated than there is")
        else:
            told.append(f"{in_gib(had - given)} of {in_gib(had)} of {what} left")
    return ", ".join(told)


def candidates(
    hosts: Iterable[Host],
    states: Mapping[str, HostState],
    drained: Set[str],
    clusters: Iterable[Cluster],
    taken: Mapping[str, Set[int]],
) -> list[Candidate]:
    """Return all hosts with what is known of them."""
    every = list(clusters)
    promised, former = promises(every), former_ports(every)
    return [
        Candidate(
            host,
            states.get(host.id, HostState.UP),
            host.id in drained,
            promised.get(host.id, NOTHING),
            taken.get(host.id, frozenset()),
            former.get(host.id, frozenset()),
        )
        for host in hosts
    ]
