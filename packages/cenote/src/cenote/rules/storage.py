"""Storage limits of a cluster: warning, autoscaling, and refusing writes when full.

On a full disk PostgreSQL shuts down, and so do its neighbours on the disk; so writes are refused before that,
with ``default_transaction_read_only``.  Reads keep working, and ``SET TRANSACTION READ WRITE`` allows a
transaction to free space.
"""

from __future__ import annotations

from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model.catalog import GIB
from cenote.model.records import Cluster, StorageAutoscale
from cenote.model.status_records import DiskUse

MAX_MIB = 16 * 1024 * GIB
NEARLY_FULL, FULL, RELIEVED = 0.90, 0.97, 0.95  # of a cluster's storage
MAX_RESERVE_MIB = 1 * GIB  # of a disk, for writes between two measurements
RESERVE = 0.02  # of a disk, when that is less
RELIEF = 1.25  # times the reserve, before writes are allowed again
SHRINK_SLACK = 1.25  # times the used space: the minimum to shrink to

DEFAULT_THRESHOLD, DEFAULT_INCREMENT = 80, 10
_THRESHOLDS, _INCREMENTS = (15, 95), (10, 500)


def reserve_mib(use: DiskUse) -> int:
    """Return the space of a disk that is kept free."""
    return min(MAX_RESERVE_MIB, int(use.disk_mib * RESERVE))


def refuses_writes(use: DiskUse, storage_mib: int, *, refused: bool) -> bool:
    """Return whether to refuse writes; if they are ``refused`` already, until some more space is free."""
    share, reserve = (RELIEVED, RELIEF * reserve_mib(use)) if refused else (FULL, reserve_mib(use))
    return use.used_mib >= share * storage_mib or use.free_mib < reserve


def is_nearly_full(use: DiskUse, storage_mib: int) -> bool:
    """Return whether usage is near a limit, so that it is measured more often."""
    return use.used_mib >= NEARLY_FULL * storage_mib or use.free_mib < 4 * reserve_mib(use)


def problem(use: DiskUse, cluster: Cluster, *, refused: bool) -> str:
    """Return the reason that the API shows for a nearly full storage; empty otherwise."""
    reason = ""
    if use.used_mib >= RELIEVED * cluster.storage_mib or (
        use.used_mib >= NEARLY_FULL * cluster.storage_mib and not refused
    ):
        reason = f"{use.used_mib} of {cluster.storage_mib} MiB of storage are used"
    elif refused:
        reason = f"the disk has {use.free_mib} MiB left"
    if reason and _is_autoscaling_due(cluster, use):
        reason += f", and the disk has no room for {cluster.autoscale.increment_gib} GiB more"
    return f"{reason}; writes are refused until there is room again" if refused else reason


def reported_use(cluster: Cluster, use: DiskUse) -> DiskUse | None:
    """Return what the controller has to know for autoscaling; None when it is not due.

    The free space is rounded down: it is that of all clusters on the disk, and each of them would report
    every change of it.
    """
    if not _is_autoscaling_due(cluster, use):
        return None
    return replace(use, free_mib=use.free_mib // GIB * GIB)


def autoscaled(cluster: Cluster, use: DiskUse) -> Cluster:
    """Return the cluster with its storage grown if autoscaling is due, else the same object."""
    more = cluster.autoscale.increment_gib * GIB
    if not _is_autoscaling_due(cluster, use) or use.free_mib - reserve_mib(use) < more:
        return cluster
    storage_mib = min(cluster.storage_mib + more, MAX_MIB)
    return cluster if storage_mib == cluster.storage_mib else replace(cluster, storage_mib=storage_mib)


def autoscale(enabled: bool, threshold_percent: int | None, increment_gib: int | None) -> StorageAutoscale:
    """Return the autoscaling policy; thresholds sent along with disabling it are ignored."""
    if not enabled:
        return StorageAutoscale()
    threshold = DEFAULT_THRESHOLD if threshold_percent is None else threshold_percent
    increment = DEFAULT_INCREMENT if increment_gib is None else increment_gib
    for name, value, (minimum, maximum) in (
        ("threshold_percent", threshold, _THRESHOLDS),
        ("increment_gib", increment, _INCREMENTS),
    ):
        if not minimum <= value <= maximum:
            raise Invalid(f"{name}: {value} is out of range: {minimum} to {maximum}.")
    return StorageAutoscale(enabled=True, threshold_percent=threshold, increment_gib=increment)


def check_shrink(storage_mib: int, used_mib: int) -> None:
    """Raise Invalid when storage would become too small for the data."""
    minimum = int(used_mib * SHRINK_SLACK)
    if storage_mib < minimum:
        raise Invalid(
            f"storage_size_mib: {storage_mib} is too small: {used_mib} MiB are used, which requires at least "
            f"{minimum}."
        )


def _is_autoscaling_due(cluster: Cluster, use: DiskUse) -> bool:
    policy = cluster.autoscale
    return policy.enabled and use.used_mib * 100 >= policy.threshold_percent * cluster.storage_mib
