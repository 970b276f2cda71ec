"""Makes the backup of a service: its records at one moment, and the files that belong to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import cenote
from cenote.errors import Misconfigured, Unavailable
from cenote.host import files, identity
from cenote.host.identity import Identity
from cenote.model.fleet_records import HostRole
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.model.service_backup import ServiceBackup
from cenote.security import backup_file
from cenote.server import bootstrap, service_files, store_tools
from cenote.store import backup
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys

ATTEMPTS = 5


async def make(layout: Layout, prefix: str) -> ServiceBackup:
    """Return the backup; it may run beside the service, or without it.

    Misconfigured, in words, where that cannot be: without the keys, or with an etcd of the operator's.
    """
    service_files.check_whole(layout)
    known = store_tools.require_own(layout)
    if HostRole.API not in known.roles:
        raise Misconfigured(
            "this host has not the role api, so it has no keys to the passwords in the records; make the "
            "backup on a host that has it"
        )
    service_files.read(layout)  # before etcd is started for nothing
    async with _store(layout, known) as client:
        # The key rings may be rotated meanwhile, and would then not be those of the records.
        for _ in range(ATTEMPTS):
            before = service_files.read(layout)
            records = await backup.records(client, Keys(prefix))
            if service_files.read(layout) == before:
                return _of(layout, prefix, before, records)
    raise Unavailable("the keys of the service are being changed; try again")


def _of(layout: Layout, prefix: str, found: dict[str, bytes], records: list[backup.Entry]) -> ServiceBackup:
    known = identity.read(layout)
    if known is None or known.store is None or not records:
        raise Misconfigured(
            f"there are no records below {prefix} in the store; give the same --etcd-prefix as to 'cenote "
            "serve'"
        )
    return ServiceBackup(
        made_at=datetime.now(UTC).replace(microsecond=0),
        cenote=cenote.__version__,
        store=known.store,
        host=known.id,
        host_name=known.name,
        prefix=prefix,
        files=found,
        records=records,
    )


async def write(layout: Layout, prefix: str, target: Path, passphrase: Secret) -> ServiceBackup:
    """Write the backup to a file, which is replaced at once and whole; return what is in it.

    Misconfigured, in words, as for ``make``, for a bad passphrase, and when the file cannot be written.
    """
    made, content = await encrypted(layout, prefix, passphrase)

    def written() -> None:
        try:
            files.write(target, content, 0o600, None)
        except OSError as error:
            raise Misconfigured(f"{target} cannot be written: {error.strerror}") from None

    await asyncio.to_thread(written)
    return made


async def encrypted(layout: Layout, prefix: str, passphrase: Secret) -> tuple[ServiceBackup, bytes]:
    """Return a backup, and as what it is to be kept; Misconfigured as for ``write``."""
    backup_file.check(passphrase)
    made = await make(layout, prefix)
    content = await asyncio.to_thread(
        backup_file.encrypted, packed(made), passphrase, cenote=made.cenote, made_at=made.made_at
    )
    return made, content


def packed(made: ServiceBackup) -> bytes:
    """Return the backup as bytes, which are to be encrypted."""
    return zlib.compress(msgspec.msgpack.encode(made))


@contextlib.asynccontextmanager
async def _store(layout: Layout, known: Identity) -> AsyncIterator[EtcdClient]:
    """A client that reads everything; the private etcd runs meanwhile, if the service does not."""
    etcd = store_tools.etcd_of(layout, known) if HostRole.STORE in known.roles else None
    runs = etcd is None or etcd.pid is not None or bootstrap.serving_pid(layout) is not None
    lock = None if runs else bootstrap.lock(layout)
    client: EtcdClient | None = None
    try:
        if lock is not None and etcd is not None:
            await etcd.start()
        client = store_tools.root_client(layout)
        yield client
    finally:
        if client is not None:
            await client.close()
        if lock is not None and etcd is not None:
            await etcd.stop()
            os.close(lock)
