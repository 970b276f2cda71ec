"""Tags, projects and VPCs: records and rules, without I/O.

All three only group clusters: on one machine a VPC isolates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from uuid import NAMESPACE_OID, UUID, uuid5

from cenote.errors import Invalid
from cenote.model import catalog
from cenote.model.record import Record

CLUSTER_URN = "do:dbaas:"  # before a cluster's id
MOST_GROUPS = 1_000  # of each kind

_NETWORK_NAME = re.compile(r"[A-Za-z0-9.-]{1,255}")
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_GIVEN_FROM = IPv4Network("10.0.0.0/8")  # the range of a network for which none is asked
_GIVEN_PREFIX = 20


class Environment(StrEnum):
    DEVELOPMENT = "Development"
    STAGING = "Staging"
    PRODUCTION = "Production"


class Tag(Record, frozen=True, kw_only=True):
    """A tag; it stays when no cluster has it."""

    name: str


class Project(Record, frozen=True, kw_only=True):
    """A project.  ``environment`` is one of ``Environment`` or empty."""

    id: UUID
    name: str
    description: str = ""
    purpose: str = ""
    environment: str = ""
    created_at: datetime
    updated_at: datetime


class VPC(Record, frozen=True, kw_only=True):
    """A VPC.  Its range is a label, like its region."""

    id: UUID
    name: str
    region: str
    ip_range: str
    description: str = ""
    created_at: datetime


Group = Tag | Project | VPC

# The hosted product makes these with an account, before anything else.
_BEGINNING = datetime.fromisoformat("2026-01-01T00:00:00Z")
DEFAULT_PROJECT = Project(
    id=uuid5(NAMESPACE_OID, "cenote project default"),
    name="default",
    description="Clusters that were put into no other project.",
    created_at=_BEGINNING,
    updated_at=_BEGINNING,
)
DEFAULT_NETWORKS = {
    network.id: network
    for number, region in enumerate(catalog.REGIONS)
    for network in [
        VPC(
            id=catalog.default_network(region),
            name=f"default-{region}",
            region=region,
            ip_range=f"10.{100 + number}.0.0/{_GIVEN_PREFIX}",
            created_at=_BEGINNING,
        )
    ]
}


def project_name(name: str, others: Iterable[Project]) -> str:
    """Return the name of a project; ``others``, here and below, are with the default ones."""
    _fits("name", name, 175, least=1)
    if any(name == other.name for other in others):
        raise Invalid("name: another project has this name.")
    return name


def text(field: str, value: str | None, most: int = 255) -> str:
    """Return an optional text such as a description; null is empty."""
    return _fits(field, value or "", most)


def environment(value: str | None) -> str:
    """Return the environment in its canonical spelling."""
    if not value:
        return ""
    for one in Environment:
        if one.lower() == value.lower():
            return one.value
    raise Invalid(f"environment: {value[:80]!a} is not one of {', '.join(Environment)}.")


def network_name(name: str, others: Iterable[VPC]) -> str:
    if not _NETWORK_NAME.fullmatch(name):
        raise Invalid("name: a VPC's name has 1 to 255 ASCII letters, digits, hyphens and full stops.")
    if any(name == other.name for other in others):
        raise Invalid("name: another VPC has this name.")
    return name


def ip_range(asked: str | None, others: Iterable[VPC]) -> str:
    """Return the IP range of a VPC, which overlaps with no other's; without a request the first free one."""
    taken = [IPv4Network(other.ip_range) for other in others]
    if not asked:
        return _first_free(taken)
    try:
        wanted = IPv4Network(asked)
    except ValueError:
        raise Invalid(f"ip_range: {asked[:40]!a} is not a network, such as '10.10.0.0/20'.") from None
    if not 16 <= wanted.prefixlen <= 28 or not any(map(wanted.subnet_of, _PRIVATE)):
        raise Invalid("ip_range: a VPC's range is a private network of IPv4, from /16 to /28.")
    if any(map(wanted.overlaps, taken)):
        raise Invalid("ip_range: another VPC's range overlaps with it.")
    return str(wanted)


def _first_free(taken: Iterable[IPv4Network]) -> str:
    """Return the first allowed range that overlaps with none of these."""
    size = 2 ** (IPv4Network(0).max_prefixlen - _GIVEN_PREFIX)
    first, last = int(_GIVEN_FROM[0]) // size, int(_GIVEN_FROM[-1]) // size
    covered: set[int] = set()  # numbers of such ranges, counted from 0.0.0.0
    for one in taken:
        covered.update(range(int(one[0]) // size, int(one[-1]) // size + 1))
    number = next((one for one in range(first, last + 1) if one not in covered), None)
    if number is None:
        raise Invalid(f"ip_range: no /{_GIVEN_PREFIX} of {_GIVEN_FROM} is free; ask for a range.")
    return f"{IPv4Address(number * size)}/{_GIVEN_PREFIX}"


def room(groups: Iterable[Group]) -> None:
    if len(tuple(groups)) >= MOST_GROUPS:
        raise Invalid(f"there are {MOST_GROUPS} of these already, and there can't be more.")


def _fits(field: str, value: str, most: int, least: int = 0) -> str:
    if not least <= len(value) <= most or not value.isprintable():
        raise Invalid(f"{field}: it has {least} to {most} printable characters.")
    return value
