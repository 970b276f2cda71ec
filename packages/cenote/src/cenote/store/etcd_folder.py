"""The folder of an etcd of ours: its data, its sockets, its log, and the files that say what runs there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from cenote.errors import Misconfigured
from cenote.store import bolt, disk, etcd_process
from cenote.store.etcd_options import CLIENT_SOCKET, PEER_SOCKET

LOG_BYTES = 8 << 20


class EtcdFolder:
    """With ``clients``, the socket also stands in that folder, which ``group`` may enter.

    With ``servers``, it does so in one more folder, for the account of the servers, of which the group is
    given; None if that is our own account.
    """

    def __init__(
        self,
        path: Path,
        clients: Path | None = None,
        group: int | None = None,
        servers: tuple[Path, int | None] | None = None,
    ) -> None:
        self.path = path
        self._clients, self._group, self._servers = clients, group, servers

    @property
    def own_socket(self) -> Path:
        return self.path / CLIENT_SOCKET

    @property
    def socket(self) -> Path:
        """The one for clients, by the name that they can reach."""
        return (self._clients or self.path) / CLIENT_SOCKET

    @property
    def note(self) -> Path:
        """The file that says which member the data are."""
        return self.path / "member"

    @property
    def has_data(self) -> bool:
        return (self._data / "member").exists()

    @property
    def _data(self) -> Path:
        return self.path / "data"

    @property
    def _log(self) -> Path:
        return self.path / "etcd.log"

    @property
    def _pid_file(self) -> Path:
        return self.path / "etcd.pid"

    def prepare(self) -> None:
        """Have the folder, ours alone; Misconfigured if that cannot be."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise Misconfigured(f"{self.path} cannot be used for etcd: {error.strerror}") from error
        if self.path.stat().st_uid != os.geteuid():
            raise Misconfigured(f"{self.path} belongs to another user")

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Allow one service at a time to look for the process and start it."""
        with (self.path / "start.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.01)
            yield

    # -- The process

    def recorded(self) -> int | None:
        """Return the process that was written down, while it lives."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self.runs(pid) else None

    def unrecorded(self) -> int | None:
        """Find an etcd whose service was killed before it wrote the pid file."""
        pid = etcd_process.find(self.path)
        if pid is not None:
            self.record(pid)
        return pid

    def record(self, pid: int) -> None:
        temporary = self._pid_file.with_suffix(".new")
        temporary.write_text(f"{pid}\n")
        temporary.replace(self._pid_file)

    def forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)

    def runs(self, pid: int) -> bool:
        """Whether the process is alive and this folder's etcd, and its pid was not reused."""
        return etcd_process.command_of(pid, self.path) is not None

    # -- Sockets and log

    def remove_sockets(self) -> None:
        for socket in (CLIENT_SOCKET, PEER_SOCKET):
            (self.path / socket).unlink(missing_ok=True)

    def open_to_clients(self) -> None:
        """Put the socket into the folders of clients, too, as hard links.

        etcd takes the name of a socket without a folder only, and puts the one for its peers beside it.  The
        links are one file, so where two accounts use it, it is the folders that tell others from them.
        """
        if self._group is not None:
            os.chown(self.own_socket, -1, self._group)
        servers = None if self._servers is None else self._servers[1]
        mode = 0o600 if self._group is None else 0o660
        self.own_socket.chmod(mode if servers is None else 0o666)
        if self._clients is not None:
            self._link(self._clients, self._group)
        if self._servers is not None:
            self._link(*self._servers)

    def _link(self, folder: Path, group: int | None) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        linked = folder / f".{CLIENT_SOCKET}"
        linked.unlink(missing_ok=True)
        os.link(self.own_socket, linked)
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(0o700 if group is None else 0o750)
        linked.replace(folder / CLIENT_SOCKET)  # nothing happens if it is the same file
        linked.unlink(missing_ok=True)

    def open_log(self) -> IO[bytes]:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        return self._log.open("ab")

    def why(self) -> str:
        """Return why it may have ended: that its disk is full, and the end of its log."""
        full = disk.full(self.path.parent)
        return f"{f': {full}' if full else ''}; its last words:\n{self._last_words()}"

    def _last_words(self) -> str:
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
        except OSError:
            return "(none)"

    # -- Data

    def data_missing(self) -> Misconfigured:
        return Misconfigured(
            f"the data of this host's etcd are missing in {self.path}; if they are lost, run "
            "'cenote store replace' here, which makes it a new member"
        )

    def put_data_aside(self) -> None:
        """Keep the data of a member that is none any more, until others are put aside."""
        aside = self.path / "data-removed"
        if self._data.exists():
            shutil.rmtree(aside, ignore_errors=True)
            self._data.rename(aside)

    def keep_copy(self) -> Path:
        """Copy the data, of an etcd that is stopped, before they are changed; return the copy.

        Those that were kept before stay.
        """
        unfinished = self.path / "data-before-recovery.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self._data, unfinished)
        os.sync()
        kept = self.path / "data-before-recovery"
        number = 1
        while kept.exists():
            number += 1
            kept = self.path / f"data-before-recovery-{number}"
        unfinished.rename(kept)
        return kept

    def take_records_of(self, kept: Path) -> None:
        """Replace the data by the records of a copy, without its log: a new cluster begins with them.

        One that is cut short has changed nothing, or is finished by ``finish_replacement``.
        """
        self.finish_replacement()
        shutil.rmtree(self._new, ignore_errors=True)
        records = self._new / "member" / "snap" / "db"
        for folder in (self._new, self._new / "member", self._new / "member" / "snap"):
            folder.mkdir(mode=0o700)
        shutil.copy2(kept / "member" / "snap" / "db", records)
        bolt.begin_new_cluster(records)
        os.sync()
        shutil.rmtree(self._replaced, ignore_errors=True)
        self._data.rename(self._replaced)
        self.finish_replacement()

    def finish_replacement(self) -> None:
        """Take the new data of a recovery that was cut short after the former ones were renamed."""
        if self._replaced.exists() and not self._data.exists() and self._new.exists():
            self._new.rename(self._data)
        if self._data.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)

    @property
    def _new(self) -> Path:
        return self.path / "data.new"

    @property
    def _replaced(self) -> Path:
        return self.path / "data.replaced"

    def changed_at(self) -> datetime | None:
        """Return when the data were last written; None without any."""
        paths = [self._data / "member" / "snap" / "db", *(self._data / "member" / "wal").glob("*.wal")]
        times = [path.stat().st_mtime for path in paths if path.exists()]
        return datetime.fromtimestamp(max(times), UTC) if times else None
