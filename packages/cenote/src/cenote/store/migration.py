"""The records of format 1 become those of format 2, at the first start of this version.

The new keys are written beside the old ones; one transaction then writes the record of the store, which makes
them valid; then the old ones are removed.  Whoever is cut off before that transaction starts over, after it
goes on removing: at each moment either all old records are there and valid, or all new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from cenote.errors import Misconfigured, Unavailable
from cenote.rules.record_formats import FIRST_WITH_FORMATS
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient
from cenote.store.encoding import FORMAT
from cenote.store.format1 import FOLDERS, Damaged, OldRecords, Reseal
from cenote.store.keys import Keys
from cenote.store.retry import retrying

log = logging.getLogger(__name__)

MOST_OPERATIONS = 100  # etcd takes 128 in a transaction
MOST_BYTES = 512 << 10  # and 1.5 MiB
PAGE = 1000
PREDECESSOR_SECONDS = 12.0  # a lease of format 1 lasts for 10 after its service has died
CLAIM_SECONDS = 60
ATTEMPTS = 3


class StoreRecord(msgspec.Struct, frozen=True):
    """The store itself: the format of its keys, and its id."""

    format: int
    id: UUID
    made_at: datetime


class Changed(Exception):
    """Somebody has written records of format 1 during the migration."""


async def prepare_store(
    client: EtcdClient,
    prefix: str,
    *,
    host_id: str,
    host_name: str,
    reseal: Reseal,
    host_ids: Mapping[str, str] | None = None,
    store_id: UUID | None = None,
) -> UUID:
    """Make the store one of format 2, whatever it is now; return its id.

    ``host_name`` is what records call this host.  Other hosts get the id in ``host_ids``, or one of their
    own.  ``store_id`` is the store's if it is known; its records may have been restored from before.
    Misconfigured when they are gone, when a service of an earlier version uses the store, when a record is
    damaged, and when the store is of a newer format.
    """
    migration = _Migration(client, Keys(prefix), host_id, host_name, reseal, dict(host_ids or {}), store_id)
    return await migration.run()


async def store_id(client: EtcdClient, keys: Keys) -> UUID | None:
    """Return the id of the store, None if there is none of this format; Misconfigured for a newer one."""
    store = await _stored(client, keys)
    if store is None:
        return None
    _check_format(store)
    return store.id


async def _stored(client: EtcdClient, keys: Keys) -> StoreRecord | None:
    found = await retrying(lambda: client.read(keys.marker))
    return None if found is None else msgspec.json.decode(found.value, type=StoreRecord)


def _check_format(store: StoreRecord) -> None:
    if store.format > FORMAT:
        raise Misconfigured(
            f"the store was upgraded by a newer version of Cenote (format {store.format}; this version "
            f"reads up to {FORMAT}); upgrade this service as well"
        )


class _Migration:
    def __init__(
        self,
        client: EtcdClient,
        keys: Keys,
        host_id: str,
        host_name: str,
        reseal: Reseal,
        ids: dict[str, str],
        store_id: UUID | None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._host_id = host_id
        self._reseal = reseal
        self._store_id = store_id
        self._ids = {**ids, host_name: host_id}
        self._claim_key = f"{keys.root}migration"
        self._claim: etcd_messages.Condition | None = None
        self._lease = 0

    async def run(self) -> UUID:
        store = await self._store()
        if store is None:
            store = await self._migrate_alone()
        _check_format(store)
        await self._remove_old()
        return store.id

    async def _store(self) -> StoreRecord | None:
        return await _stored(self._client, self._keys)

    async def _migrate_alone(self) -> StoreRecord:
        await self._take_claim()
        try:
            for _ in range(ATTEMPTS):
                try:
                    await self._migrate()
                except Changed:
                    log.warning("records were changed during the migration; starting over")
                store = await self._store()
                if store is not None:
                    return store
            raise Unavailable("others change the records all the time, so they cannot be migrated")
        finally:
            with contextlib.suppress(Unavailable):  # it expires by itself
                await self._client.revoke_lease(self._lease)

    async def _take_claim(self) -> None:
        """Keep other services of this version from migrating, too.

        The claim of a predecessor of this host is taken over: it has been killed.
        """
        self._lease = await retrying(lambda: self._client.grant_lease(CLAIM_SECONDS))
        put = etcd_messages.put(self._claim_key, self._host_id.encode(), self._lease)
        deadline = time.monotonic() + CLAIM_SECONDS + PREDECESSOR_SECONDS
        while True:
            found = await retrying(lambda: self._client.read(self._claim_key))
            if found is None or found.value == self._host_id.encode():
                now = 0 if found is None else found.mod_revision
                unchanged = etcd_messages.unchanged(self._claim_key, now)
                request = etcd_messages.TransactionRequest([unchanged], [put], [])
                answer = await retrying(functools.partial(self._client.transact, request))
                if answer.succeeded:
                    self._claim = etcd_messages.unchanged(self._claim_key, answer.header.revision)
                    return
            if time.monotonic() > deadline:
                raise Unavailable("another service migrates the records")
            await asyncio.sleep(0.2)

    async def _migrate(self) -> None:
        old, revision = await self._old_records()
        if self._store_id is not None and old.is_empty():
            raise Misconfigured(
                f"this data directory belongs to the store {self._store_id}, and this store is empty; give "
                "the right --etcd and --etcd-prefix, or restore the store's backup"
            )
        if old.host_names() or old.living_hosts():
            log.info("migrating the records to format %d", FIRST_WITH_FORMATS)
        hosts = {name: self._ids.setdefault(name, str(uuid4())) for name in sorted(old.host_names())}
        await self._write([etcd_messages.delete_prefix(self._keys.prefix)])  # of an attempt that was cut off
        try:
            new = old.converted(self._keys, hosts, self._reseal)
            for operations in _batches(etcd_messages.put(key, value) for key, value in new):
                await self._write(operations)
        except Damaged as error:
            raise Misconfigured(f"a record cannot be read, so none is migrated: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise Misconfigured(f"a record cannot be migrated, so none is: {error!r}") from error
        at = datetime.now(UTC).replace(microsecond=0)
        store = StoreRecord(FIRST_WITH_FORMATS, self._store_id or uuid4(), at)
        unchanged = [etcd_messages.unchanged_since(folder, revision) for folder in self._old_folders()]
        await self._write([etcd_messages.put(self._keys.marker, msgspec.json.encode(store))], unchanged)

    async def _old_records(self) -> tuple[OldRecords, int]:
        """Return the old records once no earlier version uses them."""
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        while True:
            records, revision = await retrying(self._listed)
            try:
                old = OldRecords(records)
            except Damaged as error:
                raise Misconfigured(f"a record cannot be read, so none is migrated: {error}") from None
            living = sorted(name for name in old.living_hosts() if self._ids.get(name) != self._host_id)
            if not living:
                return old, revision
            if time.monotonic() > deadline:
                raise Misconfigured(
                    f"an earlier version of Cenote uses this store, on the host {', '.join(living)}; stop it "
                    "there before this version migrates the records"
                )
            await asyncio.sleep(0.2)

    async def _listed(self) -> tuple[dict[str, bytes], int]:
        records: dict[str, bytes] = {}
        revision = 0
        async for page in self._client.pages(self._keys.root, PAGE):
            revision = page.revision
            for found in page.found:
                key = found.key.decode().removeprefix(self._keys.root)
                if key.partition("/")[0] in FOLDERS:
                    records[key] = found.value
        return records, revision

    async def _write(
        self,
        operations: list[etcd_messages.EtcdOperation],
        conditions: Iterable[etcd_messages.Condition] = (),
    ) -> None:
        """Write before the switch, as long as the claim is ours; Changed when a condition fails.

        Written twice, it does no harm.
        """
        assert self._claim is not None
        before = [etcd_messages.missing(self._keys.marker), self._claim, *conditions]
        request = etcd_messages.TransactionRequest(before, operations, [])
        answer = await retrying(lambda: self._client.transact(request))
        if not answer.succeeded and await self._store() is None:
            found = await retrying(lambda: self._client.read(self._claim_key))
            if found is None or found.mod_revision != self._claim.mod_revision:
                raise Unavailable("the migration took too long, or another service has begun one")
            raise Changed

    async def _remove_old(self) -> None:
        """Remove the old keys, which are valid no more: a few ranges, whatever their number."""
        gone = [*map(etcd_messages.delete_prefix, self._old_folders()), etcd_messages.delete(self._claim_key)]
        valid = [etcd_messages.exists(self._keys.marker)]
        await retrying(lambda: self._client.transact(etcd_messages.TransactionRequest(valid, gone, [])))

    def _old_folders(self) -> list[str]:
        return [f"{self._keys.root}{name}/" for name in FOLDERS]


def _batches(
    operations: Iterator[etcd_messages.EtcdOperation],
) -> Iterator[list[etcd_messages.EtcdOperation]]:
    batch: list[etcd_messages.EtcdOperation] = []
    size = 0
    for operation in operations:
        put = operation.request_put
        length = 0 if put is None else len(put.key) + len(put.value)
        if batch and (len(batch) == MOST_OPERATIONS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += length
    if batch:
        yield batch
