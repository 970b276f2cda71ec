"""Placing nodes on hosts, by what the store knows of them; ``rules/scheduling.py`` chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from cenote.api.schema_fields import LONGEST_HOST, LONGEST_ZONE
from cenote.api.service import Service
from cenote.errors import Busy, Invalid, Unavailable
from cenote.model.records import Cluster, Node
from cenote.rules import scheduling
from cenote.rules.scheduling import Candidate, Overcommit, Placement, Wanted

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
    store = service.store
    hosts = store.known_hosts()
    return scheduling.candidates(
        hosts,
        {host.id: store.host_state(host.id) for host in hosts},
        store.drains().keys(),
        [stored.value for stored in store.clusters()],
        {host.id: store.ports(host.id) | refused.get(host.id, frozenset()) for host in hosts},
    )


def limits(service: Service) -> Overcommit:
    settings = service.settings
    return Overcommit(memory=settings.memory_overcommit, storage=settings.storage_overcommit)


def place(
    service: Service,
    wanted: Wanted,
    refused: Mapping[str, Set[int]] = _NOTHING,
    without: Set[str] = frozenset(),
) -> Placement:
    """Return the host and the ports for a node; the errors are those of ``scheduling.choose``."""
    return scheduling.choose(wanted, candidates(service, refused), limits(service), without)


@dataclass(frozen=True, slots=True)
class Refusals:
    """What the hosts that were asked have refused: ports, by the host's id; and those that do not answer."""

    ports: dict[str, set[int]] = field(default_factory=dict)
    silent: dict[str, Unavailable] = field(default_factory=dict)

    def add(self, host: str, ports: Set[int]) -> None:
        self.ports.setdefault(host, set()).update(ports)


async def claimed(service: Service, id: UUID, refusals: Refusals, choose: Callable[[], Chosen]) -> Chosen:
    """Return what is chosen, once its host has claimed its ports for the cluster with this id.

    ``choose`` heeds what was refused, and is asked until a host accepts; its errors are raised when the
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
        host = chosen.host if isinstance(chosen.host, str) else chosen.host.id
        try:
            busy = await service.ports.claim(id, host, chosen.ports)
        except Unavailable as error:
            refusals.silent[host] = error
            continue
        if not busy:
            return chosen
        refusals.add(host, busy)


def check_growth(service: Service, before: Cluster, after: Cluster) -> None:
    """Raise Busy if the host of a cluster has too little left for its new size; see ``scheduling``."""
    factors = limits(service)
    if factors != scheduling.NO_LIMITS:
        scheduling.check_growth(before, after, candidates(service), factors)
