"""The file in which etcd keeps its records, as far as a copy of it has to be changed to begin a new cluster.

That is what ``etcdctl snapshot restore`` does, which a Debian with the server alone does not have: the file
forgets how much of the former cluster's log is in it, and who its members were.  The format is bbolt's: pages
of one size, two of which begin the file and point at the root (https://github.com/etcd-io/bbolt).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cenote.errors import Misconfigured

MAGIC = 0xED0CDAED
META = struct.Struct(
    "<IIIIQQQQQ"
)  # magic, version, page size, flags, root page, sequence, free list, pages, txid
PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
ELEMENT = struct.Struct("<IIII")  # flags, position, size of the key, size of the value
BUCKET = struct.Struct("<QQ")  # page of its root, 0 when it stands in the value itself; sequence
BRANCH, LEAF = 0x01, 0x02
SMALLEST_PAGE = 1024


class _Entry(NamedTuple):
    """A key and its value by where they stand in the file."""

    key: bytes
    key_at: int
    value_at: int
    size: int


def begin_new_cluster(path: Path) -> None:
    """Change a copy of the file in place; Misconfigured for one that is no such file."""
    try:
        content = bytearray(path.read_bytes())
        _change(content)
    except (struct.error, ValueError, IndexError, OSError) as error:
        raise Misconfigured(f"{path} is no whole copy of etcd's records: {error}") from None
    path.write_bytes(content)


def _change(content: bytearray) -> None:
    page_size, root = _root(content)
    buckets = {entry.key: entry for entry in _leaf(content, root * page_size)}
    for entry in _entries(content, buckets[b"meta"], page_size):
        if entry.key == b"consistent_index":
            content[entry.value_at : entry.value_at + entry.size] = bytes(entry.size)
            break
    else:
        raise ValueError("it does not say how much of the log is in it")
    # etcd makes these anew.  Other names of the same length keep the order of the keys.
    for name, former in ((b"members", b"memberq"), (b"members_removed", b"memberq_removed")):
        found = buckets.get(name)
        if found is not None and former not in buckets:
            content[found.key_at : found.key_at + len(name)] = former


def _root(content: bytearray) -> tuple[int, int]:
    """Return the size of a page, and the page of the root bucket, as the newest valid meta page has it."""
    found: list[tuple[int, int, int]] = []
    first = _meta(content, 0)
    sizes = [first[1]] if first is not None else [SMALLEST_PAGE << power for power in range(7)]
    for at in (0, *sizes):
        meta = _meta(content, at)
        if meta is not None:
            found.append(meta)
    if not found:
        raise ValueError("it has no valid meta page")
    _, page_size, root = max(found)
    return page_size, root


def _meta(content: bytearray, at: int) -> tuple[int, int, int] | None:
    """Return transaction, page size and root of a meta page; None if it is not valid."""
    at += PAGE.size
    if at + META.size + 8 > len(content):
        return None
    magic, version, page_size, _, root, _, _, _, transaction = META.unpack_from(content, at)
    (checksum,) = struct.unpack_from("<Q", content, at + META.size)
    if magic != MAGIC or version != 2 or checksum != _fnv(bytes(content[at : at + META.size])):
        return None
    return transaction, page_size, root


def _fnv(content: bytes) -> int:
    """Return the 64-bit FNV-1a hash."""
    found = 0xCBF29CE484222325
    for byte in content:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found


def _entries(content: bytearray, bucket: _Entry, page_size: int) -> Iterator[_Entry]:
    """Yield what is in a small bucket, whose root is a leaf."""
    root, _ = BUCKET.unpack_from(content, bucket.value_at)
    yield from _leaf(content, root * page_size if root else bucket.value_at + BUCKET.size)


def _leaf(content: bytearray, at: int) -> list[_Entry]:
    _, flags, count, _ = PAGE.unpack_from(content, at)
    if not flags & LEAF:
        raise ValueError("it has more buckets than expected")
    found = []
    for number in range(count):
        element = at + PAGE.size + number * ELEMENT.size
        _, position, key_size, value_size = ELEMENT.unpack_from(content, element)
        key_at = element + position
        if key_at + key_size + value_size > len(content):
            raise ValueError("it is cut off")
        key = bytes(content[key_at : key_at + key_size])
        found.append(_Entry(key, key_at, key_at + key_size, value_size))
    return found
