"""The catalog: sizes, regions and versions of clusters.

The slugs are those of the hosted product, so that scripts written for it work unchanged.  A region is a label
only.  The limits of a size are derived from its memory, by the functions below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from cenote.model.fleet_records import Host

GIB = 1024  # in MiB
RESERVED_CONNECTIONS = 3  # of each server, for maintenance
MAX_POOLED_CONNECTIONS = 997  # of all pools of a cluster together

REGIONS = (
    *("ams3", "atl1", "blr1", "fra1", "lon1", "nyc1", "nyc2"),
    *("nyc3", "ric1", "sfo2", "sfo3", "sgp1", "syd1", "tor1"),
)

# Slug and disk in GiB; processors and memory are in the slug.
_SIZES = """
db-s-1vcpu-1gb 10       db-s-1vcpu-2gb 30       db-s-2vcpu-4gb 60       db-s-4vcpu-8gb 140
db-s-6vcpu-16gb 290
gd-2vcpu-8gb 30         gd-4vcpu-16gb 60        gd-8vcpu-32gb 140       gd-16vcpu-64gb 290
gd-32vcpu-128gb 580     gd-40vcpu-160gb 720
so1_5-2vcpu-16gb 400    so1_5-4vcpu-32gb 780    so1_5-8vcpu-64gb 1540   so1_5-16vcpu-128gb 3080
so1_5-24vcpu-192gb 4620 so1_5-32vcpu-256gb 6160
db-intel-1vcpu-1gb 10   db-intel-1vcpu-2gb 30   db-intel-2vcpu-4gb 60   db-intel-2vcpu-8gb 100
db-intel-4vcpu-8gb 140  db-intel-4vcpu-16gb 210 db-intel-8vcpu-32gb 430 db-intel-16vcpu-64gb 870
db-amd-1vcpu-1gb 10     db-amd-1vcpu-2gb 30     db-amd-2vcpu-4gb 60     db-amd-2vcpu-8gb 100
db-amd-4vcpu-8gb 140    db-amd-4vcpu-16gb 210   db-amd-8vcpu-32gb 430   db-amd-16vcpu-64gb 870
"""

# Last day of the community's support; a version stays available until half a year before
# (https://www.postgresql.org/support/versioning/).
_END_OF_LIFE = {
    "13": datetime(2025, 11, 13, tzinfo=UTC),
    "14": datetime(2026, 11, 12, tzinfo=UTC),
    "15": datetime(2027, 11, 11, tzinfo=UTC),
    "16": datetime(2028, 11, 9, tzinfo=UTC),
    "17": datetime(2029, 11, 8, tzinfo=UTC),
    "18": datetime(2030, 11, 14, tzinfo=UTC),
}


@dataclass(frozen=True, slots=True)
class Size:
    """The resources of one node of a cluster."""

    slug: str
    vcpus: int
    memory_mib: int
    disk_mib: int


def _parse(slug: str, disk_gib: str) -> Size:
    found = re.fullmatch(r".+-(\d+)vcpu-(\d+)gb", slug)
    if found is None:
        raise ValueError(slug)
    return Size(slug, int(found[1]), int(found[2]) * GIB, int(disk_gib) * GIB)


_FIELDS = _SIZES.split()
SIZES = {slug: _parse(slug, disk) for slug, disk in zip(_FIELDS[::2], _FIELDS[1::2], strict=True)}


def backend_connections(size: Size) -> int:
    """Return the default ``max_connections`` of a size: 25 for each GiB."""
    return 25 * size.memory_mib // GIB


def pool_capacity(size: Size) -> int:
    """Return how many backend connections the pools of a cluster share, after the reserved ones."""
    return min(backend_connections(size) - RESERVED_CONNECTIONS, MAX_POOLED_CONNECTIONS)


def max_clients(size: Size) -> int:
    """Return the ``max_client_conn`` of PgBouncer: 500 for each GiB, from 5,000 to 50,000."""
    return max(5_000, min(500 * size.memory_mib // GIB, 50_000))


def versions(hosts: Iterable[Host]) -> dict[str, str]:
    """Return the major versions installed on any host, oldest first, each with its newest minor version."""
    found: dict[str, str] = {}
    for host in hosts:
        for major, full in host.versions.items():
            found[major] = max(found.get(major, full), full, key=_numbers)
    return dict(sorted(found.items(), key=lambda item: _numbers(item[0])))


def extensions(hosts: Iterable[Host], version: str) -> list[str]:
    """Return the extensions available on all hosts that have this version."""
    found = [set(host.extensions.get(version, ())) for host in hosts if version in host.versions]
    return sorted(set.intersection(*found)) if found else []


def default_network(region: str) -> UUID:
    """Return the default private network of a region, which is a label only."""
    return uuid5(NAMESPACE_OID, f"cenote network {region}")


def end_of_life(version: str) -> datetime | None:
    return _END_OF_LIFE.get(version)


def end_of_availability(version: str) -> datetime | None:
    day = _END_OF_LIFE.get(version)
    return day and day.replace(month=day.month - 6)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
