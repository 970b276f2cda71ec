"""Validation of clusters: name, engine, version, size, region, tags."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from uuid import UUID

from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model import catalog
from cenote.model.catalog import Size
from cenote.model.records import ENGINE, Cluster
from cenote.rules import storage
from cenote.rules.names import either, quoted

NOT_FOR_THIS_ENGINE = "operation is not supported for this cluster type"

PROTECTED = (
    "The cluster is protected from deletion. Turn cenote.delete_protection off first: PUT "
    "/v2/databases/{id}/delete_protection with {{\"enabled\": false}}, or 'cenote cluster unprotect {name}'."
)

MOST_NODES = 3
MAX_TAGS = 100
MAX_SERVICE_NAMES = 16

_OTHER_ENGINES = frozenset(
    {"mysql", "redis", "valkey", "mongodb", "kafka", "opensearch", "advanced_pg", "advanced_mysql"}
)
_HOST_PREFIXES = ("private-", "replica-")

MOST_UNDELETE_DAYS = 3650
NAME = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
TAG = re.compile(r"[A-Za-z0-9:_-]{1,255}")


def cluster_name(name: str, *, in_domain: bool) -> str:
    """Check a cluster's name; with a domain configured it is also the first label of its host names."""
    longest = 55 if in_domain else 63  # "private-" goes before it, and a label has at most 63 characters
    if not 3 <= len(name) <= longest:
        raise Invalid(f"name: a cluster's name has 3 to {longest} characters, this one has {len(name)}.")
    if not NAME.fullmatch(name):
        raise Invalid(
            "name: a cluster's name consists of lowercase letters, digits and hyphens, and begins and ends "
            "with a letter or a digit."
        )
    if in_domain and name.startswith(_HOST_PREFIXES):
        raise Invalid(
            f"name: a cluster's name may not begin with {either(_HOST_PREFIXES)}: reserved for host names."
        )
    return name


def engine(name: str) -> None:
    if name == ENGINE:
        return
    if name in _OTHER_ENGINES:
        raise Invalid(NOT_FOR_THIS_ENGINE)
    raise Invalid(f"engine: {quoted(name)} is not supported; the only engine is {ENGINE!r}.")


def version(requested: str | None, found: Collection[str]) -> str:
    """Return the major version to use, by default the newest installed."""
    if not found:
        raise Invalid("version: PostgreSQL is not installed on any host.")
    if not requested:
        return list(found)[-1]
    if requested not in found:
        raise Invalid(
            f"invalid cluster engine version {quoted(requested)}: the hosts have {', '.join(found)}."
        )
    return requested


def size(slug: str) -> Size:
    found = catalog.SIZES.get(slug)
    if found is None:
        raise Invalid(f"size: {quoted(slug)} is not a size; sizes are {', '.join(catalog.SIZES)}.")
    return found


def region(slug: str) -> str:
    if slug not in catalog.REGIONS:
        raise Invalid(f"region: {quoted(slug)} is not a region; regions are {', '.join(catalog.REGIONS)}.")
    return slug


def num_nodes(number: int) -> int:
    if not 1 <= number <= MOST_NODES:
        nodes = "1 node" if MOST_NODES == 1 else f"1 to {MOST_NODES} nodes"
        raise Invalid(f"num_nodes: {number} is not supported; a cluster has {nodes} in this version.")
    return number


def undelete_days(days: int) -> None:
    if not 0 <= days <= MOST_UNDELETE_DAYS:
        raise Invalid(f"undelete_days: {days} is not from 0 to {MOST_UNDELETE_DAYS}.")


def storage_mib(requested: int | None, size: Size) -> int:
    """Return the storage to allocate, by default that of the size; never less."""
    if requested is None:
        return size.disk_mib
    if not size.disk_mib <= requested <= storage.MAX_MIB:
        raise Invalid(
            f"storage_size_mib: {requested} is out of range for size {size.slug}: {size.disk_mib} to "
            f"{storage.MAX_MIB}."
        )
    return requested


def tags(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the tags without duplicates, in the given order."""
    distinct = tuple(dict.fromkeys(names or ()))
    if len(distinct) > MAX_TAGS:
        raise Invalid(f"tags: a cluster has at most {MAX_TAGS} tags, these are {len(distinct)}.")
    for name in distinct:
        if not TAG.fullmatch(name):
            raise Invalid(
                f"tags: {quoted(name)} is not a tag; a tag has 1 to 255 letters, digits, colons, hyphens and "
                "underscores."
            )
    return distinct


def service_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the customer's own host names (CNAMEs) for a cluster, without duplicates."""
    distinct = tuple(dict.fromkeys(name.lower() for name in names or ()))
    if len(distinct) > MAX_SERVICE_NAMES:
        raise Invalid(
            f"service_cnames: a cluster has at most {MAX_SERVICE_NAMES} names, these are {len(distinct)}."
        )
    for name in distinct:
        if len(name) > 253 or not HOST_NAME.fullmatch(name):
            raise Invalid(f"service_cnames: {quoted(name)} is not a host name, such as 'db.example.com'.")
    return distinct


def optional_uuid(field: str, text: str | None) -> UUID | None:
    """Return the id in an optional field, which some clients send as an empty string."""
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"{field}: {quoted(text)} is not a UUID.") from None


def resize(cluster: Cluster, size: Size, storage_mib: int) -> Cluster:
    return replace(cluster, size=size.slug, storage_mib=storage_mib)


def migrate(cluster: Cluster, region: str, network_id: UUID) -> Cluster:
    return replace(cluster, region=region, private_network_id=network_id)


def check_deletable(cluster: Cluster) -> None:
    """Raise Invalid, with the way to turn that off, for a cluster that is protected from deletion."""
    if cluster.delete_protection:
        raise Invalid(PROTECTED.format(id=cluster.id, name=cluster.name))
