"""PostgreSQL settings derived from the size of a node."""

from cenote.model import catalog
from cenote.model.catalog import RESERVED_CONNECTIONS, Size

_FILES_OF_ITS_OWN = 64  # of PgBouncer: sockets that listen, its log, its console, configuration that is read


def clients(size: Size, descriptors: int) -> int:
    """Return how many clients PgBouncer admits: those of the size, as far as it may have that many files.

    Beyond that it could accept nobody, and could not reach its servers either.
    """
    free = descriptors - catalog.backend_connections(size) - _FILES_OF_ITS_OWN
    return max(10, min(catalog.max_clients(size), free))


# Of the storage: what a replication slot whose consumer is away may keep, before the slot is given up.
_QUEUE_SHARE = 0.1  # of the storage, for WAL that is not archived
_SLOT_SHARE = 0.25


def slot_settings(storage_mib: int) -> dict[str, str]:
    """Return the limit of the WAL that replication slots keep: without one a slot fills the disk."""
    return {"max_slot_wal_keep_size": f"{max(64, int(storage_mib * _SLOT_SHARE))}MB"}


def archive_queue_mib(storage_mib: int) -> int:
    """Return how much WAL is kept for a repository that does not take it.

    What is dropped beyond that is lost to backups alone.
    """
    return max(256, int(storage_mib * _QUEUE_SHARE))


def settings(memory_mib: int, vcpus: int, connections: int) -> dict[str, str]:
    """Return the settings for a node.

    ``memory_mib`` is the smaller of the size's and the host's memory: a large size must start on a small
    host, too.
    """
    return {
        "max_connections": str(connections),
        "superuser_reserved_connections": str(RESERVED_CONNECTIONS),
        "shared_buffers": f"{max(16, memory_mib // 4)}MB",
        # Half of PostgreSQL's default: the walwriter touches all of it soon after the start, and with 4 MB
        # instead of 8 a small server writes as fast, within the variance of a disk.
        "wal_buffers": f"{min(16, max(1, memory_mib // 256))}MB",
        "effective_cache_size": f"{max(32, memory_mib * 3 // 4)}MB",
        "work_mem": f"{min(64, max(1, memory_mib // 4 // connections))}MB",
        "maintenance_work_mem": f"{min(1024, max(16, memory_mib // 16))}MB",
        "max_worker_processes": str(max(8, vcpus + 4)),
        "max_parallel_workers": str(max(2, vcpus)),
        "max_parallel_workers_per_gather": str(min(4, max(1, vcpus // 2))),
    }
