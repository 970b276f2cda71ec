"""Keeps the database file of an etcd small: defragments it, and clears the alarm of an exceeded quota."""

from __future__ import annotations

from cenote.store import etcd_messages
from cenote.store.client import EtcdClient

WASTE_BYTES = 64 << 20  # a file with more free room in it than used, and this much at least, is rewritten


async def tidy(client: EtcdClient, *, only_if_full: bool = False) -> None:
    """Defragment the database file, and clear the alarm if etcd had exceeded its quota."""
    status = await client.status()
    full = any("NOSPACE" in error for error in status.errors)
    if full:
        await client.compact(status.header.revision)
    if full or (not only_if_full and _wastes(status)):
        await client.defragment()
    if full:
        await client.disarm()


def _wastes(status: etcd_messages.StatusResponse) -> bool:
    return status.size - status.size_in_use > max(WASTE_BYTES, status.size_in_use)
