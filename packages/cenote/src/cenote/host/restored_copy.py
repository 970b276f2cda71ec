"""Data that are restored aside: copied from a repository or a living server, and recovered to a moment.

A copy is complete or begun anew: a mark beside it is written when all of it is on disk.  Whatever is killed
at whatever moment, what follows can be done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cenote.conf import conninfo, pgbackrest, recovery
from cenote.errors import CenoteError
from cenote.host import control_file, files, processes, restore_files, stopping, system, system_identifier
from cenote.host.backup_program import BackupError, BackupProgram
from cenote.host.executor import Executor
from cenote.host.sql import Session
from cenote.model.backups import Backup
from cenote.model.changes import EndProcesses, Program
from cenote.model.host_backups import HostBackups
from cenote.model.paths import recovery_server
from cenote.model.record import Secret
from cenote.model.restores import CopyMark
from cenote.model.status_records import DiskUse
from cenote.rules import backup_info, recovery_log, restorable, storage
from cenote.rules.recovery_log import Failure

_PERCENT = re.compile(rb"\((?:\d[^,()]*), (\d{1,3})(?:\.\d+)?%\)")
_TAIL = 16 * 1024  # bytes of a log in which the last percentage stands
_MOST_LOG = 64 * 1024 * 1024  # bytes of a recovery's log that are read
_READY = b"ready"
_RESERVES = 4  # of the disk's reserve stay free, at which it does not count as nearly full

TABLESPACES = "it has tablespaces, which cannot be restored; only a superuser can make them"

Say = Callable[[str], None]


class RecoveryFailed(CenoteError):
    """The server has ended during recovery."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.words)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """``data`` becomes the data directory, ``work`` is a folder of ours for all else."""

    data: Path
    work: Path
    sockets: Path

    @property
    def state(self) -> Path:
        """The folder that pgBackRest writes into."""
        return self.work / "state"

    @property
    def configuration(self) -> Path:
        return self.work / "pgbackrest.conf"

    @property
    def fetch(self) -> Path:
        return self.work / "fetch"

    @property
    def key(self) -> Path:
        """The private key for the repository's SFTP server."""
        return self.work / "sftp-key"

    @property
    def mark(self) -> Path:
        return self.work / "copied.json"


@dataclass(frozen=True, slots=True)
class Source:
    """The backups that are restored: their stanza and their passphrase."""

    stanza: str
    passphrase: Secret
    backups: HostBackups


class RestoredCopy:
    """One copy, in its place."""

    def __init__(
        self,
        place: CopyPlace,
        executor: Executor,
        binaries: Path,
        accounts: tuple[str, str],
        source: Source | None = None,
        *,
        processes: int = 1,
    ) -> None:
        """``accounts`` are the names of the service's and the servers' one.

        Without ``source`` it is a copy of a living server, which has all of its WAL.
        """
        self.place, self._executor, self._binaries = place, executor, binaries
        self._accounts, self._source, self._processes = accounts, source, processes
        self._account = executor.account

    # -- The copy

    @property
    def mark(self) -> CopyMark | None:
        """What says that the copy is complete, None before it is."""
        return None if files.mode_of(self.place.data) is None else restore_files.read_mark(self.place.mark)

    async def end_processes(self) -> None:
        """End what an agent before this one has left at work here."""
        await stopping.stop_program(self.server())
        for folder in (self.place.data, self.place.state):
            await self._executor.do(EndProcesses(folder), Session(self.place.sockets, 0, 0))

    async def clear(self) -> None:
        """Remove all of it; the mark first, which nothing else stands for."""
        await self.end_processes()
        place = self.place
        for path in (place.mark, place.work, place.data, place.sockets):
            await asyncio.to_thread(files.remove, path)

    def prepare(self) -> None:
        """Make the folders, and what pgBackRest needs."""
        place, owner = self.place, self._account.owner
        if owner is None:
            files.make_directory(place.work, 0o700, None)
        else:
            files.make_directory(place.work, 0o710, (0, owner[1]))
        for folder in (place.state, place.sockets, place.data):
            files.make_directory(folder, 0o700, owner)
        source = self._source
        if source is None or source.backups.program is None:
            return
        text = pgbackrest.render(
            source.backups.repository,
            source.backups.credentials,
            state=place.state,
            days=source.backups.days,
            stanza=source.stanza,
            passphrase=source.passphrase,
            server=pgbackrest.Server(place.data, recovery.PORT, place.sockets),
            processes=self._processes,
            progress=True,
            key=place.key,
        )
        if (key := pgbackrest.private_key(source.backups.credentials)) is not None:
            files.write(place.key, key, 0o600, owner, durable=False)
        script = recovery.fetch_script(source.backups.program, place.configuration, source.stanza)
        files.write(place.configuration, text.encode(), 0o600, owner, durable=False)
        files.write(place.fetch, script.encode(), 0o500, owner, durable=False)

    async def info(self) -> backup_info.Info:
        """Ask the repository what there is; BackupError, in words, when it cannot be read."""
        text = await self.pgbackrest("--output=json", "info")
        try:
            found = backup_info.parse(text, self.source.stanza)
        except ValueError as error:
            raise BackupError(str(error)) from None
        if found.problem:
            raise BackupError(found.problem)
        return found

    async def pgbackrest(self, *arguments: str, seconds: float | None = 60.0) -> str:
        program = self.source.backups.program
        if program is None:
            raise BackupError("pgBackRest is not installed on this host")
        runner = BackupProgram(program, self._account)
        place = self.place
        return await runner.run(
            place.configuration, place.state, self.source.stanza, *arguments, seconds=seconds
        )

    @property
    def source(self) -> Source:
        assert self._source is not None
        return self._source

    def check_room(self, size: int) -> None:
        """Raise CenoteError, in words, where a copy of so many bytes would nearly fill the disk."""
        work = self.place.work
        use = DiskUse(used_mib=0, free_mib=system.free_mib(work), disk_mib=system.disk_mib(work))
        needed, spare = size // 1024**2, _RESERVES * storage.reserve_mib(use)
        if use.free_mib < needed + spare:
            raise CenoteError(
                f"there is no room for it: it takes {needed} MiB of the {use.free_mib} MiB that are free, of "
                f"which {spare} MiB are kept"
            )

    async def copy_backup(self, backup: Backup, asked_at: datetime, say: Say, interval: float) -> CopyMark:
        """Copy a backup out of the repository."""
        text = await self.pgbackrest("--output=json", f"--set={backup.label}", "info")
        if backup_info.has_tablespaces(text):
            raise CenoteError(TABLESPACES)
        log = self.place.state / f"{self.source.stanza}-restore.log"
        files.remove(log)
        following = asyncio.create_task(
            _follow(log, lambda words: say(f"restoring the backup {backup.label}{words}"), interval)
        )
        try:
            await self.pgbackrest(f"--set={backup.label}", "--type=preserve", "restore", seconds=None)
        finally:
            following.cancel()
            await asyncio.wait([following])
            files.remove(log)
        files.write(self.place.data / "recovery.signal", b"", 0o600, self._account.owner)
        return self._complete(CopyMark(asked_at=asked_at, label=backup.label, ended_at=backup.stopped_at))

    async def copy_server(
        self, sockets: Path, port: int, data: Path, asked_at: datetime, say: Say, interval: float
    ) -> CopyMark:
        """Copy a server that runs on this host, with all the WAL that the copy needs."""
        check_tablespaces(data)
        program = Program(
            name="pg_basebackup",
            argv=(
                str(self._binaries / "pg_basebackup"),
                *("--pgdata", str(self.place.data), "--no-password", "--progress"),
                *("--dbname", conninfo.render(conninfo.for_copy(conninfo.of_own(sockets, port)))),
                *("--checkpoint", "fast", "--wal-method", "stream"),
            ),
            directory=self.place.data,
            pid_file=self.place.data / ".pid",  # it writes none; it is found by its stamp
            log=self.place.work / "copying.log",
            stamp=self.place.work / "copying.started",
            stop_signal=self.server().stop_signal,
            kill_after=5.0,
        )
        files.remove(program.log)
        started = processes.start(program, self._account)
        try:
            while started is not None and not await processes.ended(started, interval):
                found = _percent(program.log)
                say(f"copying the data of the source{found}")
        except asyncio.CancelledError:
            await self.end_processes()
            raise
        if files.read(self.place.data / "backup_manifest") is None and not self._has_manifest():
            raise CenoteError(f"the source cannot be copied: {files.tail(program.log) or 'no word of it'}")
        files.remove(self.place.data / "backup_manifest")
        return self._complete(CopyMark(asked_at=asked_at))

    def _has_manifest(self) -> bool:
        """Return whether it is there, however large."""
        return files.mode_of_file(self.place.data / "backup_manifest") is not None

    def _complete(self, mark: CopyMark) -> CopyMark:
        restore_files.write_mark(self.place.mark, mark)
        return mark

    def version(self) -> str:
        """Return the major version of PostgreSQL that the data are of."""
        return (files.read(self.place.data / "PG_VERSION") or b"").decode(errors="replace").strip()

    # -- Recovery

    def server(self, *arguments: str) -> Program:
        return recovery_server(self.place.data, self.place.work, self._binaries, *arguments)

    def is_recovered(self) -> bool:
        """Return whether all WAL is replayed that is to be, and the server was shut down in order."""
        data = self.place.data
        is_left = any(
            files.mode_of_file(data / name) is not None for name in ("recovery.signal", "backup_label")
        )
        return not is_left and control_file.shut_down_at(data) > 0

    async def recover(self, target: datetime | None, say: Say, interval: float, newest: str = "") -> None:
        """Start a server that replays WAL, and return when it takes connections, on its own socket alone.

        ``newest`` is the newest segment in the archive.  Raises RecoveryFailed.
        """
        program = self._recovery(target)
        await stopping.stop_program(program)
        for lock in processes.stale_lock_files([program.pid_file]):
            files.remove(lock)
        begun = _size(program.log)
        started = processes.start(program, self._account)
        if started is not None:
            stamp = f"{started.pid} {started.started} recovery\n".encode()
            files.write(program.stamp, stamp, 0o600, None, durable=False)
        first = ""
        while started is not None and processes.identify(started.pid) == started:
            if _is_ready(program, started.pid):
                return
            last = recovery_log.last_segment(_read_from(program.log, max(begun, _size(program.log) - _TAIL)))
            first = first or last
            say(_replaying(first, last, newest))
            await processes.ended(started, interval)
        raise RecoveryFailed(recovery_log.failure(_read_from(program.log, begun)))

    def log(self) -> str:
        """Return what the servers of this recovery have said."""
        return _read_from(self.server().log, 0)

    async def stop(self) -> None:
        await stopping.stop_program(self.server())

    def session(self, seconds: int = 60) -> Session:
        return Session(self.place.sockets, recovery.PORT, 0, seconds)

    def _recovery(self, target: datetime | None) -> Program:
        place, owner = self.place, self._account.owner
        hba, ident, empty = (place.work / name for name in ("hba.conf", "ident.conf", "postgresql.conf"))
        files.write(hba, recovery.hba().encode(), 0o600, owner, durable=False)
        files.write(ident, recovery.ident(*self._accounts).encode(), 0o600, owner, durable=False)
        files.write(empty, b"", 0o600, owner, durable=False)
        values = recovery.settings(
            configuration=empty,
            hba=hba,
            ident=ident,
            sockets=place.sockets,
            least=control_file.least_settings(place.data),
            fetch=None if self._source is None else place.fetch,
            target=None if self._source is None else target,
        )
        return self.server(*recovery.arguments(values))

    # -- The end

    def finish(self, *, fork: bool) -> None:
        """Make recovered data those of a server of its own; nobody works in them.

        A fork has an identity of its own.  Else what follows is archived where the WAL before it is, so the
        history of its timeline has to be, too.  WAL of former timelines is removed: it is archived already,
        but for a part of a segment that would be archived in place of the whole one.
        """
        data = self.place.data
        timeline = control_file.timeline(data)
        wal = data / "pg_wal"
        for name in files.names(wal):
            if _is_segment(name) and int(name[:8], 16) < timeline:
                files.remove(wal / name)
        if fork:
            system_identifier.change(data, system_identifier.new_identifier())
        else:
            files.make_directory(wal / "archive_status", 0o700, self._account.owner)
            for name in files.names(wal):
                if name.endswith(".history"):
                    files.write(wal / "archive_status" / f"{name}.ready", b"", 0o600, self._account.owner)
        for path in (data / "backup_label.old", data / "tablespace_map.old"):
            files.remove(path)

    def remove_work(self) -> None:
        for path in (self.place.work, self.place.sockets):
            files.remove(path)


def check_tablespaces(data: Path) -> None:
    """Refuse data with tablespaces, which lie outside of it: a copy would work in those of the source."""
    if files.names(data / "pg_tblspc"):
        raise CenoteError(TABLESPACES)


def _is_ready(program: Program, pid: int) -> bool:
    """Return whether a server takes connections; the file may be of a former one, which was killed."""
    lines = (files.read(program.pid_file) or b"").splitlines()
    return len(lines) > 7 and lines[0] == str(pid).encode() and lines[7].strip() == _READY


def _is_segment(name: str) -> bool:
    return re.fullmatch(r"[0-9A-F]{24}(\.partial)?", name) is not None


def _replaying(first: str, last: str, newest: str) -> str:
    done = restorable.percent(first, last, newest)
    return "replaying WAL" if done is None else f"replaying WAL, {done} %"


async def _follow(log: Path, say: Say, interval: float) -> None:
    while True:
        say(_percent(log))
        await asyncio.sleep(interval)


def _percent(log: Path) -> str:
    """Return the last percentage that stands in a log, in words."""
    with contextlib.suppress(OSError):
        found = _PERCENT.findall(_tail(log))
        return f", {found[-1].decode()} %" if found else ""
    return ""


def _tail(log: Path) -> bytes:
    stream = files.open_regular(log)
    if stream is None:
        return b""
    with stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _TAIL))
        return stream.read(_TAIL)


def _size(log: Path) -> int:
    stream = files.open_regular(log)
    if stream is None:
        return 0
    with stream:
        return stream.seek(0, 2)


def _read_from(log: Path, position: int) -> str:
    stream = files.open_regular(log)
    if stream is None:
        return ""
    with stream:
        stream.seek(position)
        return stream.read(_MOST_LOG).decode(errors="replace")
