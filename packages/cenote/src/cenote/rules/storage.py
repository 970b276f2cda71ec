"""How full a cluster's storage is, and what follows from it: a warning, growing by itself, refusing writes.

Pure.  A PostgreSQL that can write no more ends, and so do all its neighbours on the disk; so writes are
refused before that, by ``default_transaction_read_only``.  Reading goes on, and whoever wants to make room
begins with ``SET TRANSACTION READ WRITE``.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model.catalog import GIB
from cenote.model.records import Cluster, StorageAutoscale

MAX_MIB = 16 * 1024 * GIB
NEARLY_FULL, FULL, RELIEVED = 0.90, 0.97, 0.95  # of a cluster's storage
MAX_RESERVE_MIB = 1 * GIB  # of a disk, for what is written between two looks
RESERVE = 0.02  # of a disk, where that is less
RELIEF = 1.25  # times the reserve, before writes are let in again
SHRINK_SLACK = 1.25  # times what is used is the least that storage can be shrunk to

DEFAULT_THRESHOLD, DEFAULT_INCREMENT = 80, 10
_THRESHOLDS, _INCREMENTS = (15, 95), (10, 500)


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What a cluster's data takes, and what is left on the disk that it stands on."""

    used_mib: int
    free_mib: int
    disk_mib: int

    @property
    def reserve_mib(self) -> int:
        return min(MAX_RESERVE_MIB, int(self.disk_mib * RESERVE))


def refuses_writes(use: DiskUse, storage_mib: int, *, refused: bool) -> bool:
    """Return whether writes are refused; ``refused``: they are, and some room has to be made to end that."""
    share, reserve = (RELIEVED, RELIEF * use.reserve_mib) if refused else (FULL, use.reserve_mib)
    return use.used_mib >= share * storage_mib or use.free_mib < reserve


def is_nearly_full(use: DiskUse, storage_mib: int) -> bool:
    """Return whether it may get serious soon."""
    return use.used_mib >= NEARLY_FULL * storage_mib or use.free_mib < 4 * use.reserve_mib


def problem(use: DiskUse, cluster: Cluster, *, refused: bool) -> str:
    """Return what its owner should know; empty when all is well."""
    words = ""
    if use.used_mib >= RELIEVED * cluster.storage_mib or (
        use.used_mib >= NEARLY_FULL * cluster.storage_mib and not refused
    ):
        words = f"{use.used_mib} of {cluster.storage_mib} MiB of storage are used"
    elif refused:
        words = f"the disk has {use.free_mib} MiB left"
    if words and _wants_more(cluster, use):
        words += f", and the disk has not enough for {cluster.autoscale.increment_gib} GiB more"
    return f"{words}; writes are refused until there is room again" if refused else words


def autoscaled(cluster: Cluster, use: DiskUse) -> Cluster:
    """Return the cluster with more storage when it grows by itself and is due; else the very same one."""
    more = cluster.autoscale.increment_gib * GIB
    if not _wants_more(cluster, use) or use.free_mib - use.reserve_mib < more:
        return cluster
    storage_mib = min(cluster.storage_mib + more, MAX_MIB)
    return cluster if storage_mib == cluster.storage_mib else replace(cluster, storage_mib=storage_mib)


def autoscale(enabled: bool, threshold_percent: int | None, increment_gib: int | None) -> StorageAutoscale:
    """Return how storage grows by itself; what is sent along with its end means nothing."""
    if not enabled:
        return StorageAutoscale()
    threshold = DEFAULT_THRESHOLD if threshold_percent is None else threshold_percent
    increment = DEFAULT_INCREMENT if increment_gib is None else increment_gib
    for name, value, (least, most) in (
        ("threshold_percent", threshold, _THRESHOLDS),
        ("increment_gib", increment, _INCREMENTS),
    ):
        if not least <= value <= most:
            raise Invalid(f"{name}: {value} is not from {least} to {most}.")
    return StorageAutoscale(enabled=True, threshold_percent=threshold, increment_gib=increment)


def check_shrink(storage_mib: int, used_mib: int) -> None:
    """Raise Invalid when storage would be too small for what is in it."""
    least = int(used_mib * SHRINK_SLACK)
    if storage_mib < least:
        raise Invalid(
            f"storage_size_mib: {storage_mib} is too small: {used_mib} MiB are used, and that needs at least "
            f"{least}."
        )


def _wants_more(cluster: Cluster, use: DiskUse) -> bool:
    rule = cluster.autoscale
    return rule.enabled and use.used_mib * 100 >= rule.threshold_percent * cluster.storage_mib
