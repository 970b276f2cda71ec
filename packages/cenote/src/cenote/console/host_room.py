"""What a cluster of some size would take of its host that the host does not have.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cenote.console.rendering import mib
from cenote.model.catalog import SIZES, Size


def is_larger(room: Mapping[str, Any] | None, size: Size) -> bool:
    """Return whether a size alone has more memory or CPUs than the host."""
    return bool(shortages(room, size, alone=True))


def shortages(
    room: Mapping[str, Any] | None, size: Size, *, instead_of: Any = None, alone: bool = False
) -> list[str]:
    """Return what a host lacks for a cluster of a size, as sentences with figures.

    ``room`` is that of the API's options; ``instead_of`` is the cluster that would be resized.  Memory and
    storage are compared together with those of the host's other clusters; ``alone``, the memory alone.
    """
    if not room:
        return []
    found = []
    others = room["clusters"] - (instead_of is not None)
    had_memory, had_storage = (0, 0) if instead_of is None else _of(instead_of)
    memory = size.memory_mib + (0 if alone else room["allocated_memory_mib"] - had_memory)
    storage = size.disk_mib + (0 if alone else room["allocated_storage_mib"] - had_storage)
    if size.vcpus > room["cpus"]:
        found.append(f"CPUs: the size has {size.vcpus}, the host {room['cpus']}.")
    if memory > room["memory_mib"]:
        found.append(_sentence("Memory", size.memory_mib, memory, room["memory_mib"], others))
    if room["disk_mib"] and not alone and storage > room["disk_mib"]:
        found.append(_sentence("Storage", size.disk_mib, storage, room["disk_mib"], others))
    return found


def _sentence(what: str, own: int, all_of_them: int, host: int, others: int) -> str:
    if own > host or all_of_them == own:
        return f"{what}: the size has {mib(own)}, the host {mib(host)}."
    clusters = "1 other cluster" if others == 1 else f"{others} other clusters"
    return f"{what}: {mib(all_of_them)} together with {clusters}, the host has {mib(host)}."


def _of(cluster: Any) -> tuple[int, int]:
    return SIZES[cluster["size"]].memory_mib, cluster["storage_size_mib"]
