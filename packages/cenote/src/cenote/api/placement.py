"""Placing nodes on hosts, by what the store knows of them; ``rules/scheduling.py`` chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from msgspec.structs import replace

from cenote.api.schema_fields import LONGEST_HOST, LONGEST_ZONE
from cenote.api.service import Service
from cenote.errors import Busy, Invalid, Unavailable
from cenote.model.records import Cluster, Node
from cenote.rules import node_placement, scheduling
from cenote.rules.scheduling import Candidate, Overcommit, Placement, Wanted
from cenote.store import candidates as store_candidates

_NOTHING: Mapping[str, Set[int]] = {}
Chosen = TypeVar("Chosen", Placement, Node)


def wish(host: str | None, zone: str | None) -> tuple[str, str]:
    """Return the host and the zone that a request wishes for; Invalid for what none can be called."""
    for name, text, most in (("host", host, LONGEST_HOST), ("zone", zone, LONGEST_ZONE)):
        if text is not None and len(text) > most:
            raise Invalid(f"{name}: at most {most} characters.")
    return host or "", zone or ""


def candidates(service: Service, refused: Mapping[str, Set[int]] = _NOTHING) -> list[Candidate]:
    """Return all hosts with what is promised of them; ``refused`` are further ports that are taken."""
    return store_candidates.candidates(service.store, refused)


def limits(service: Service) -> Overcommit:
    settings = service.settings
    return Overcommit(memory=settings.memory_overcommit, storage=settings.storage_overcommit)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the hosts that were asked have refused: ports, by the host's id; and those that do not answer."""

    ports: dict[str, set[int]] = field(default_factory=dict)
    silent: dict[str, Unavailable] = field(default_factory=dict)

    def add(self, host: str, ports: Set[int]) -> None:
        self.ports.setdefault(host, set()).update(ports)


def place(
    service: Service, wanted: Wanted, count: int, refusals: Refusals, *, distinct: bool
) -> tuple[Placement, ...]:
    """Return the hosts and the ports for a cluster's nodes; the errors are those of ``node_placement``."""
    every = candidates(service, refusals.ports)
    return node_placement.choose(
        wanted, count, every, limits(service), refusals.silent.keys(), distinct=distinct
    )


def more(
    service: Service, cluster: Cluster, count: int, wanted: Wanted, refusals: Refusals
) -> tuple[Placement, ...]:
    """Return the hosts and the ports for further nodes; the errors are those of ``node_placement``."""
    every, placed = candidates(service, refusals.ports), as_placed(service, cluster)
    return node_placement.more(placed, count, every, wanted, limits(service), refusals.silent.keys())


def as_placed(service: Service, cluster: Cluster) -> Cluster:
    """Return a cluster whose nodes share no host if the service lets none share one."""
    return replace(cluster, distinct_hosts=True) if service.settings.distinct_hosts else cluster


def standbys(
    service: Service, first: Node, count: int, wanted: Wanted, refusals: Refusals, *, distinct: bool
) -> tuple[Node, ...]:
    """Return further nodes for a cluster whose data are to be made on the first one, which is planned only.

    The errors are those of ``node_placement``.
    """
    placed = node_placement.beside(
        (first,),
        count,
        candidates(service, refusals.ports),
        wanted,
        limits(service),
        refusals.silent.keys(),
        distinct=distinct or service.settings.distinct_hosts,
    )
    now = datetime.now(UTC).replace(microsecond=0)
    number = int(first.name.rpartition("-")[2]) + 1
    return tuple(replace(node, added_at=now) for node in as_nodes(placed, number))


def as_nodes(placed: Iterable[Placement], first: int = 1) -> tuple[Node, ...]:
    """Return the nodes for these placements, the first of them with this number in its name."""
    return tuple(
        Node(
            name=f"node-{number}",
            host=one.host.id,
            port=one.port,
            pool_port=one.pool_port,
            metrics_port=one.metrics_port,
        )
        for number, one in enumerate(placed, first)
    )


async def claimed(service: Service, id: UUID, refusals: Refusals, choose: Callable[[], Chosen]) -> Chosen:
    """Return what is chosen, once its host has claimed its ports for the cluster with this id.

    The errors are those of ``all_claimed``.
    """
    [found] = await all_claimed(service, id, refusals, lambda: (choose(),))
    return found


async def all_claimed(
    service: Service,
    id: UUID,
    refusals: Refusals,
    choose: Callable[[], tuple[Chosen, ...]],
    former: Iterable[Node] = (),
) -> tuple[Chosen, ...]:
    """Return what is chosen, once the hosts have claimed its ports for the cluster with this id.

    The servers of ``former`` nodes have theirs already.

    ``choose`` heeds what was refused, and is asked until all hosts accept; its errors are raised when the
    store confirms what it knows of the hosts.  Unavailable if a host does not answer, and no other is left.
    """
    while True:
        try:
            chosen = choose()
        except (Busy, Invalid, Unavailable):
            if refusals.silent:
                raise next(iter(refusals.silent.values())) from None
            if not await service.store.confirm_hosts():
                raise
            continue
        if await _claim(service, id, refusals, _by_host(chosen, former)):
            return chosen


def _by_host(chosen: Iterable[Placement | Node], former: Iterable[Node]) -> dict[str, set[int]]:
    """Return the ports of each host, by its id: one has one claim for all of a cluster's ports."""
    found: dict[str, set[int]] = {}
    for one in chosen:
        host = one.host if isinstance(one.host, str) else one.host.id
        found.setdefault(host, set()).update(one.ports)
    for node in former:
        if node.host in found:
            found[node.host] -= node.ports
    return found


async def _claim(service: Service, id: UUID, refusals: Refusals, wanted: dict[str, set[int]]) -> bool:
    """Claim ports on hosts, all or none; what was refused is added to ``refusals``."""
    for host, ports in wanted.items():
        try:
            busy = await service.ports.claim(id, host, ports)
        except Unavailable as error:
            refusals.silent[host] = error
        else:
            if not busy:
                continue
            refusals.add(host, busy)
        await release(service, id, [one for one in wanted if one != host])
        return False
    return True


async def release(service: Service, id: UUID, hosts: Iterable[str]) -> None:
    """Give up what hosts have claimed for a cluster."""
    for host in hosts:
        await service.ports.release(id, host)


def check_growth(service: Service, before: Cluster, after: Cluster) -> None:
    """Raise Busy if the host of a cluster has too little left for its new size; see ``scheduling``."""
    factors = limits(service)
    if factors != scheduling.NO_LIMITS:
        scheduling.check_growth(before, after, candidates(service), factors)
