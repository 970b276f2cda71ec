"""The choice of hosts, and of ports on them, for the nodes of a cluster that has several.  Pure.

Nodes stand on different hosts, and in different zones, as far as there are any that can take them; where
there are too few, some share a host, which then has one pooler for them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from msgspec.structs import replace as changed

from cenote.errors import Busy, CenoteError, Invalid, Unavailable
from cenote.model.records import Cluster, Node
from cenote.rules import port_allocation, scheduling
from cenote.rules.scheduling import NO_LIMITS, Candidate, Overcommit, Placement, Promise, Wanted


@dataclass(slots=True)
class _Choice:
    """The hosts that were chosen so far, in the order of the nodes; ``former`` have others already."""

    every: list[Candidate]
    wanted: Wanted
    limits: Overcommit
    without: Set[str]
    former: tuple[str, ...] = ()
    hosts: list[Candidate] = field(default_factory=list)

    @property
    def used(self) -> list[str]:
        return [*self.former, *(one.host.id for one in self.hosts)]

    def take(self, one: Candidate) -> None:
        """Choose a host; what is promised of it counts for the next node."""
        before = one.promised
        promised = Promise(
            memory_mib=before.memory_mib + self.wanted.memory_mib,
            storage_mib=before.storage_mib + self.wanted.storage_mib,
            nodes=before.nodes + 1,
        )
        after = Candidate(one.host, one.state, one.drained, promised, one.taken, one.former)
        self.every = [after if other.host.id == one.host.id else other for other in self.every]
        self.hosts.append(after)


def choose(
    wanted: Wanted,
    count: int,
    candidates: Iterable[Candidate],
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
    *,
    distinct: bool = False,
) -> tuple[Placement, ...]:
    """Return the hosts and the ports for the nodes of a new cluster.

    The first one is where it was wished, the others are anywhere in the zone that was wished.  With
    ``distinct`` no two share a host.  The errors are those of ``scheduling.choose``; Busy also when there are
    too few hosts.
    """
    every = list(candidates)
    if count == 1:
        return (scheduling.choose(wanted, every, limits, without),)
    wanted = changed(wanted, patroni=True)
    choice = _Choice(every, wanted, limits, without)
    choice.take(_first(choice))
    choice.wanted = changed(wanted, host="")
    for _ in range(1, count):
        choice.take(_next(choice, count, distinct=distinct))
    return _with_ports(choice.hosts, every)


def more(
    cluster: Cluster,
    count: int,
    candidates: Iterable[Candidate],
    wanted: Wanted,
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
) -> tuple[Placement, ...]:
    """Return the hosts and the ports for further nodes of a cluster, with its ports where they are free."""
    distinct = cluster.distinct_hosts
    return beside(cluster.nodes, count, candidates, wanted, limits, without, distinct=distinct)


def beside(
    nodes: Sequence[Node],
    count: int,
    candidates: Iterable[Candidate],
    wanted: Wanted,
    limits: Overcommit = NO_LIMITS,
    without: Set[str] = frozenset(),
    *,
    distinct: bool = False,
) -> tuple[Placement, ...]:
    """Return the hosts and the ports for further nodes beside these, with their ports where they are free."""
    every = list(candidates)
    former = tuple(node.host for node in nodes)
    choice = _Choice(every, changed(wanted, patroni=True, host=""), limits, without, former)
    total = len(nodes) + count
    for _ in range(count):
        choice.take(_next(choice, total, distinct=distinct))
    return _with_ports(choice.hosts, every, nodes)


def _able(choice: _Choice) -> list[Candidate]:
    return [
        one
        for one in choice.every
        if one.host.id not in choice.without and not scheduling.hindrance(choice.wanted, one, choice.limits)
    ]


def _first(choice: _Choice) -> Candidate:
    """Return the host for the first node; of several, one that others can copy from."""
    able = _able(choice)
    if not able:  # for the error
        placed = scheduling.choose(choice.wanted, choice.every, choice.limits, choice.without)
        return next(one for one in choice.every if one.host.id == placed.host.id)
    reachable = [one for one in able if one.host.fleet_address]
    return _emptiest(reachable if len(reachable) > 1 else able, choice.wanted)


def _next(choice: _Choice, count: int, *, distinct: bool) -> Candidate:
    able, used = _able(choice), set(choice.used)
    known = {one.host.id: one.host for one in choice.every}
    is_reachable = all(known[id].fleet_address for id in used if id in known)
    others = [one for one in able if is_reachable and one.host.fleet_address and one.host.id not in used]
    if others:
        zones = {known[id].zone for id in used if id in known}
        elsewhere = [one for one in others if one.host.zone and one.host.zone not in zones]
        return _emptiest(elsewhere or others, choice.wanted)
    if distinct:
        raise _too_few(choice, count)
    shared = [one for one in able if one.host.id in used]
    if not shared:
        raise _refusal(choice)
    fewest = min(choice.used.count(one.host.id) for one in shared)
    return _emptiest([one for one in shared if choice.used.count(one.host.id) == fewest], choice.wanted)


def _emptiest(candidates: Iterable[Candidate], wanted: Wanted) -> Candidate:
    found = scheduling.emptiest(candidates, wanted.memory_mib, wanted.storage_mib)
    assert found is not None
    return found


def _too_few(choice: _Choice, count: int) -> Busy:
    told = scheduling.hindrances(choice.wanted, choice.every, choice.limits)
    alone = [one.host.name for one in choice.every if not one.host.fleet_address]
    unreachable = f" {', '.join(sorted(alone)[:5])} cannot be reached by others (--address)." if alone else ""
    return Busy(
        f"{count} nodes on different hosts need {count} hosts that take them, and there are fewer.{told}"
        f"{unreachable} Add a host, ask for fewer nodes, or let them share a host (cenote.distinct_hosts)."
    )


def _refusal(choice: _Choice) -> CenoteError:
    try:
        scheduling.choose(choice.wanted, choice.every, choice.limits, choice.without)
    except (Busy, Invalid, Unavailable) as error:
        return error
    return Busy("No host that the cluster can reach takes another of its nodes; add a host.")


def _with_ports(
    hosts: Sequence[Candidate], every: Sequence[Candidate], nodes: Iterable[Node] = ()
) -> tuple[Placement, ...]:
    """Return placements with the same ports on each host if there are such; Busy if a host has none left."""
    former = {node.host: node for node in nodes}
    common = _common_ports(hosts, every, former)
    placed: list[Placement] = []
    for one in hosts:
        id = one.host.id
        beside = next((it for it in placed if it.host.id == id), None)
        pooler = former.get(id) or beside
        mine = {port for it in placed if it.host.id == id for port in it.ports}
        taken = set(one.taken) | mine | (former[id].ports if id in former else frozenset())
        if pooler is not None:  # its pooler is there
            port = port_allocation.free_pair(one.host, taken)
            if port is None:
                raise _no_ports(one)
            placed.append(Placement(one.host, port, pooler.pool_port, pooler.metrics_port))
        else:
            placed.append(_alone(one, taken, common))
    return tuple(placed)


def _common_ports(
    hosts: Sequence[Candidate], every: Sequence[Candidate], former: dict[str, Node]
) -> tuple[int, int] | None:
    """Return the first port of the pair, and that for metrics, that are to be the same everywhere."""
    if former:
        first = next(iter(former.values()))
        return first.port, first.metrics_port
    for others, avoids in ((every, True), (hosts, True), (hosts, False)):
        for one in hosts:
            avoided = frozenset[int]().union(*(it.former for it in hosts)) if avoids else frozenset[int]()
            found = scheduling.free_ports(one, [*hosts, *others], avoided)
            if found is not None and all(_offers(it, found) for it in hosts):
                return found.port, found.metrics_port
    return None


def _offers(one: Candidate, found: Placement) -> bool:
    return all(one.host.first_port <= port <= one.host.last_port for port in found.ports)


def _alone(one: Candidate, taken: Set[int], common: tuple[int, int] | None) -> Placement:
    """Return the placement of the only node on its host, with the common ports as far as they are free."""
    host, closed = one.host, taken | set(one.host.busy_ports)
    port, metrics_port = common or (0, 0)
    if not (host.first_port <= port < host.last_port) or closed & {port, port + 1}:
        port = port_allocation.free_pair(host, set(closed)) or 0
    pair = {port, port + 1}
    if not (host.first_port <= metrics_port <= host.last_port) or metrics_port in closed | pair:
        metrics_port = port_allocation.free_metrics_port(host, closed | pair) or 0
    if not port or not metrics_port:
        raise _no_ports(one)
    return Placement(host, port, port + 1, metrics_port)


def _no_ports(one: Candidate) -> Busy:
    return Busy(f"Every port on {one.host.name} is taken; delete a cluster or widen the range.")
