"""A real etcd for a test: the private one of the service, in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from cenote.store.gateway import Gateway
from cenote.store.server import PrivateEtcd
from cenote.store.store import Store


def etcd_program() -> Path:
    """Where etcd is; the tests need it, so its lack is an error and no skip."""
    found = shutil.which("etcd")
    if found is None:
        raise RuntimeError("etcd is not installed; on Debian: apt-get install etcd-server")
    return Path(found)


@contextlib.asynccontextmanager
async def private_etcd() -> AsyncIterator[PrivateEtcd]:
    """Start an etcd, and stop and remove it in the end; its log is printed when the test fails."""
    folder = Path(tempfile.mkdtemp(prefix="cenote-etcd-"))
    etcd = PrivateEtcd(folder / "etcd", etcd_program())
    try:
        await etcd.start()
        yield etcd
    except BaseException:
        with contextlib.suppress(OSError):
            sys.stderr.write((folder / "etcd" / "etcd.log").read_text())
        raise
    finally:
        await etcd.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def opened_store(etcd: PrivateEtcd, prefix: str = "/cenote/") -> AsyncIterator[Store]:
    """A store on this etcd, with a gateway of its own: as another service on the same records."""
    gateway = Gateway(socket=etcd.socket)
    store = Store(gateway, prefix)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        await gateway.close()


def kill(etcd: PrivateEtcd) -> int:
    """``kill -9``; return the pid that was killed."""
    pid = etcd.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid
