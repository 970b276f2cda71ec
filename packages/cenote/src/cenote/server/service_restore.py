"""Makes a data directory of the backup of a service, before the service is started there.

A mark stands in the directory until all is there: a restore that was cut off is neither served from nor taken
for a service, and the next one begins anew.  What that finds beside the mark is put aside, and not removed:
somebody may have moved the former service back meanwhile.
"""

from __future__ import annotations

import logging
import os
import zlib
from datetime import UTC, datetime

import msgspec

from cenote.errors import Misconfigured
from cenote.host import files, identity, programs
from cenote.host.identity import Identity
from cenote.model.fleet_records import HostRole
from cenote.model.paths import Layout
from cenote.model.service_backup import ServiceBackup
from cenote.server import bootstrap, service_files
from cenote.store import backup, restored_reports
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode
from cenote.store.keys import Keys
from cenote.store.migration import StoreRecord
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)

_store = msgspec.json.Decoder(StoreRecord)


def unpacked(content: bytes) -> ServiceBackup:
    """Return what was packed; Misconfigured for anything else."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(content), type=ServiceBackup)
    except (zlib.error, msgspec.DecodeError) as error:
        raise Misconfigured(f"the content of the backup cannot be read: {error}") from None


async def restore(layout: Layout, made: ServiceBackup) -> None:
    """Restore into a data directory without a service; Misconfigured, and nothing is changed, for another."""
    layout.check()
    known = _identity(made)
    keys = Keys(made.prefix)
    records = _records(keys, made)
    etcd = programs.find(data_dir=layout.data_dir).etcd
    if etcd is None:
        raise Misconfigured("etcd is not installed; see 'cenote doctor'")
    private = PrivateEtcd(layout.etcd, etcd.path)
    check_place(layout)
    lock = bootstrap.lock(layout)
    try:
        if service_files.is_unfinished(layout):
            await _put_aside_former(layout, private)
        files.write(layout.restoring, b"", 0o600, None)
        try:
            service_files.write(layout, made.files)
            await _write(private, keys, records)
            identity.write(layout, known)
        except BaseException:
            await _take_back(layout, private)
            raise
        layout.restoring.unlink()
        files.sync_directory(layout.data_dir)
    finally:
        os.close(lock)


def _identity(made: ServiceBackup) -> Identity:
    """Return who the host is: the one that has made the backup, and alone, so with every role that needs."""
    try:
        known = msgspec.json.decode(made.files[service_files.IDENTITY], type=Identity)
    except (KeyError, msgspec.DecodeError):
        raise Misconfigured("the backup does not say which host has made it") from None
    roles = tuple(role for role in HostRole if role in {*known.roles, HostRole.API, HostRole.STORE})
    return msgspec.structs.replace(known, roles=roles)


def _records(keys: Keys, made: ServiceBackup) -> list[backup.Entry]:
    try:
        decode(keys.marker, dict(made.records)[keys.marker], _store)
        return restored_reports.of_another_store(keys, made.records, datetime.now(UTC))
    except (KeyError, msgspec.DecodeError) as error:
        raise Misconfigured(f"a record in the backup cannot be read: {error}") from None


def check_place(layout: Layout) -> None:
    """Raise Misconfigured for a data directory that has a service, or is another user's."""
    if layout.data_dir.exists():
        if not layout.data_dir.is_dir():
            raise Misconfigured(f"{layout.data_dir} is not a directory")
        if layout.data_dir.stat().st_uid != os.geteuid():
            raise Misconfigured(f"{layout.data_dir} belongs to another user; run this as that user")
    if not service_files.is_unfinished(layout):
        service_files.check_none(layout)


async def _put_aside_former(layout: Layout, etcd: PrivateEtcd) -> None:
    """Put aside what stands beside the mark of a restore that was cut off, and end its etcd."""
    if layout.etcd.is_dir():
        await etcd.stop()
    if (folder := service_files.put_aside(layout, datetime.now(UTC))) is not None:
        log.warning("a former restore was cut off: what was there of a service is in %s now", folder)


async def _take_back(layout: Layout, etcd: PrivateEtcd) -> None:
    """Remove what this restore has written, since it has failed, and the mark last."""
    if layout.etcd.is_dir():
        await etcd.stop()
    service_files.remove(layout)
    layout.restoring.unlink(missing_ok=True)


async def _write(etcd: PrivateEtcd, keys: Keys, records: list[backup.Entry]) -> None:
    try:
        await etcd.start()
        client = EtcdClient(socket=etcd.socket)
        try:
            await backup.write(client, keys, records)
        finally:
            await client.close()
    finally:
        await etcd.stop()
