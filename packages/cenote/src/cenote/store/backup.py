"""All records of a store at one revision, and an empty store that gets them back.

What is kept are keys and values, and not etcd's own file: so the version of etcd does not matter, nor who its
members are.  Revisions are other ones afterwards.  So records come back in the order in which they were
written, and what names a revision is changed (``restored_reports.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from cenote.errors import Unavailable
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.etcd_messages import KeyValue
from cenote.store.keys import Keys
from cenote.store.retry import retrying

Entry: TypeAlias = tuple[str, bytes]  # key and value

PAGE = 500
MOST_OPERATIONS = 100  # etcd takes 128 in a transaction
MOST_BYTES = 512 << 10  # and 1.5 MiB

# Below the prefix of records: what stands for processes that run, what is asked for and answered again, what
# would let somebody in, and the members of the store, which are others afterwards.
LEFT_OUT = (
    *("presence/", "leases/", "marks/", "refusals/", "csr/", "certificates/"),
    *("fleet/requests/", "fleet/certificates/", "fleet/recipients/", "fleet/errands/"),
    *("fleet/members/", "fleet/tokens/"),
)


async def records(client: EtcdClient, keys: Keys) -> list[Entry]:
    """Return the records to keep as they are at one moment, in the order in which they were written."""
    found = await retrying(lambda: _all(client, keys))
    left_out = tuple(keys.prefix + name for name in LEFT_OUT)
    found.sort(key=lambda one: one.mod_revision)
    return [
        (key, one.value)
        for one in found
        if not one.lease and not (key := one.key.decode()).startswith(left_out)
    ]


async def write(client: EtcdClient, keys: Keys, entries: Sequence[Entry]) -> None:
    """Write the records into a store that has none; Unavailable when it does not have them all then."""
    for part in _parts(entries):
        request = etcd_messages.TransactionRequest([], [etcd_messages.put(*one) for one in part], [])
        await client.transact(request)
    if {one.key.decode(): one.value for one in await _all(client, keys)} != dict(entries):
        raise Unavailable("etcd does not have the records that were written to it")


async def _all(client: EtcdClient, keys: Keys) -> list[KeyValue]:
    return [one async for page in client.pages(keys.root, PAGE) for one in page.found]


def _parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for key, value in entries:
        if part and (len(part) == MOST_OPERATIONS or size + len(value) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append((key, value))
        size += len(key) + len(value)
    if part:
        yield part
