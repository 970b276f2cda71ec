"""The private etcd of one machine, a process that outlives the service.

It listens on two unix sockets and on no port.  They are in a folder of our user with mode 0700; connecting
takes search permission on every folder of the path, so only this user and root can.  The socket for clients
has a second name, in a folder that the API's group may enter.  Who may do what by it is in ``access.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO

from cenote.errors import Misconfigured, Unavailable
from cenote.model import environment
from cenote.store import disk, etcd_messages
from cenote.store.client import EtcdClient, LoginWanted

log = logging.getLogger(__name__)

CLIENT_SOCKET = "client.sock:0"  # etcd requires a port, and makes it a part of the name
START_SECONDS = 30.0
STOP_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a process that ran longer did not fail because of how it was started
TIDY_SECONDS = 30.0  # between two looks at whether its database is full
PAUSE_AFTER_DEATH = 0.8  # seconds, at most
PAUSE_AFTER_FAILURE = 8.0  # seconds, at most
LOG_BYTES = 8 << 20
QUOTA_BYTES = 1 << 30
WASTE_BYTES = 64 << 20  # a file with more free room in it than used, and this much at least, is rewritten


class PrivateEtcd:
    """A single-member etcd in ``directory``, on a unix socket there, outliving us.

    With ``clients``, the socket also stands in that folder, which ``group`` may enter.
    """

    def __init__(
        self,
        directory: Path,
        etcd: Path = Path("/usr/bin/etcd"),
        *,
        clients: Path | None = None,
        group: int | None = None,
        administrator: Callable[[Path], EtcdClient] | None = None,
    ) -> None:
        """``administrator`` makes the client for the maintenance of an etcd that wants logins."""
        self._directory = directory
        self._etcd = etcd
        self._clients, self._group = clients, group
        self._administrator = administrator
        self._stopping = False

    @property
    def socket(self) -> Path:
        """Where its JSON client listens: for ``EtcdClient(socket=…)``."""
        return (self._clients or self._directory) / CLIENT_SOCKET

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    async def start(self) -> None:
        """Adopt the running etcd or start one; Misconfigured with the end of its log if it does not start."""
        self._stopping = False
        await self._start()

    async def watch(self) -> None:
        """Restart it within a second whenever it dies, until cancelled or stopped.

        If it cannot be started, log the reason and retry every few seconds.
        """
        pause = 0.0
        while True:
            began = time.monotonic()
            try:
                pid = self.pid
                if pid is not None:
                    await self._attend(pid)
                if time.monotonic() - began > STEADY_SECONDS:
                    pause = 0.0
                await asyncio.sleep(pause)
                if self._stopping:
                    return
                log.warning("etcd has ended; starting it again")
                await self._start()
                pause = min(PAUSE_AFTER_DEATH, pause * 2 or 0.05)
            except (Misconfigured, Unavailable, OSError) as error:
                log.error("%s", error)
                pause = min(PAUSE_AFTER_FAILURE, pause * 2 or 0.5)

    async def _attend(self, pid: int) -> None:
        """Wait until the process has exited; tidy it up meanwhile whenever it is full."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY_SECONDS):
                    await _exit_of(pid)
                    return
            await self._tidy(only_if_full=True)

    async def stop(self) -> None:
        """Stop it; by SIGKILL if SIGTERM does not."""
        self._stopping = True
        pid = self.pid or self._unrecorded()
        if pid is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await _exit_of(pid)
                    break
        self._pid_file.unlink(missing_ok=True)

    async def _start(self) -> None:
        self._prepare()
        async with self._alone():
            if self._stopping:
                return
            pid = self.pid or self._unrecorded() or self._spawn()
        await self._answering(pid)
        self._open_to_clients()
        await self._tidy()

    @property
    def _pid_file(self) -> Path:
        return self._directory / "etcd.pid"

    @property
    def _log_file(self) -> Path:
        return self._directory / "etcd.log"

    def _prepare(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
        except OSError as error:
            raise Misconfigured(f"{self._directory} cannot be used for etcd: {error.strerror}") from error
        if self._directory.stat().st_uid != os.geteuid():
            raise Misconfigured(f"{self._directory} belongs to another user")

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Allow one service at a time to look for the process and start it."""
        with (self._directory / "start.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.01)
            yield

    def _open_to_clients(self) -> None:
        """Put the socket into the folder of the clients, too, as a hard link.

        etcd takes the name of a socket without a folder only, and puts the one for its peers beside it.
        """
        if self._clients is None:
            return
        self._clients.mkdir(mode=0o700, exist_ok=True)
        socket, linked = self._directory / CLIENT_SOCKET, self._clients / f".{CLIENT_SOCKET}"
        linked.unlink(missing_ok=True)
        os.link(socket, linked)
        if self._group is not None:
            os.chown(socket, -1, self._group)
            os.chown(self._clients, -1, self._group)
        socket.chmod(0o600 if self._group is None else 0o660)
        self._clients.chmod(0o700 if self._group is None else 0o750)
        linked.replace(self.socket)  # nothing happens if it is the same file
        linked.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        """Whether the process is alive and this directory's etcd, and its pid was not reused."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            folder = os.stat(f"/proc/{pid}/cwd")
            ours = self._directory.stat()
        except OSError:
            return False
        # The kernel tells our side that a program was replaced a moment before it has the new command line.
        starting = command == [b""]
        return (
            state not in "ZX"
            and (starting or b"cenote" in command)
            and (folder.st_dev, folder.st_ino) == (ours.st_dev, ours.st_ino)
        )

    def _unrecorded(self) -> int | None:
        """Find an etcd whose service was killed before it wrote the pid file."""
        numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        pid = next((number for number in numbers if self._is_ours(number)), None)
        if pid is not None:
            self._record(pid)
        return pid

    def _record(self, pid: int) -> None:
        temporary = self._pid_file.with_suffix(".new")
        temporary.write_text(f"{pid}\n")
        temporary.replace(self._pid_file)

    def _spawn(self) -> int:
        for socket in (CLIENT_SOCKET, "peer.sock:0"):
            (self._directory / socket).unlink(missing_ok=True)
        try:
            with self._open_log() as output:
                process = subprocess.Popen(
                    self._command(),
                    cwd=self._directory,  # socket paths are short this way, whatever the directory's is
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    umask=0o077,
                )
        except OSError as error:
            raise Misconfigured(f"{self._etcd} cannot be run: {error.strerror}") from error
        # It outlives us, so Popen must not wait for it; a pidfd signals its exit.
        process.returncode = 0
        self._record(process.pid)
        return process.pid

    def _command(self) -> list[str]:
        client, peer = f"unix://{CLIENT_SOCKET}", "unix://peer.sock:0"
        options = {
            "name": "cenote",
            "data-dir": "data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"cenote={peer}",
            # A restart waits for about two of these milliseconds' spans.  Shorter ones cost an idle etcd
            # measurably more of a core (1.1 % with these, 2.5 % with 20 and 4).
            "election-timeout": "50",
            "heartbeat-interval": "10",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1m",
            # Passwords are random, so a slow hash protects nothing; the default one costs 0.3 s a login.
            "bcrypt-cost": "4",
            "quota-backend-bytes": str(QUOTA_BYTES),
            "snapshot-count": "10000",
            "logger": "zap",
            "log-level": "warn",
        }
        return [str(self._etcd), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _open_log(self) -> IO[bytes]:
        if self._log_file.exists() and self._log_file.stat().st_size > LOG_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        return self._log_file.open("ab")

    async def _answering(self, pid: int) -> None:
        client = EtcdClient(socket=self._directory / CLIENT_SOCKET)
        deadline = time.monotonic() + START_SECONDS
        try:
            # A read, not /health: etcd with an exceeded quota is unhealthy, and that is fixed only later.
            while not await _reads(client):
                _reap(pid)
                if not self._is_ours(pid):
                    raise Misconfigured(f"etcd ended while it started{self._why()}")
                if time.monotonic() > deadline:
                    raise Misconfigured(f"etcd does not answer{self._why()}")
                await asyncio.sleep(0.005)
        finally:
            await client.close()

    @staticmethod
    def _wastes(status: etcd_messages.StatusResponse) -> bool:
        return status.size - status.size_in_use > max(WASTE_BYTES, status.size_in_use)

    def _why(self) -> str:
        full = disk.full(self._directory.parent)
        return f"{f': {full}' if full else ''}; its last words:\n{self._last_words()}"

    def _last_words(self) -> str:
        try:
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-10:])
        except OSError:
            return "(none)"

    async def _tidy(self, *, only_if_full: bool = False) -> None:
        """Defragment the database file, and clear the alarm if etcd had exceeded its quota."""
        client = EtcdClient(socket=self.socket)
        try:
            if self._administrator is not None and await _wants_login(client):
                await client.close()
                client = self._administrator(self.socket)
            status = await client.status()
            full = any("NOSPACE" in error for error in status.errors)
            if full:
                await client.compact(status.header.revision)
            if full or (not only_if_full and self._wastes(status)):
                await client.defragment()
            if full:
                await client.disarm()
        except Unavailable as error:
            log.warning("etcd's database could not be tidied: %s", error)
        finally:
            await client.close()


def _environment() -> dict[str, str]:
    if platform.machine() == "aarch64":  # etcd 3.4 refuses to run there without it
        return dict(environment.OF_PROGRAMS) | {"ETCD_UNSUPPORTED_ARCH": "arm64"}
    return dict(environment.OF_PROGRAMS)


async def _wants_login(client: EtcdClient) -> bool:
    try:
        await client.revision("/")
    except LoginWanted:
        return True
    return False


async def _reads(client: EtcdClient) -> bool:
    try:
        await client.revision("/")
    except LoginWanted:  # said only after etcd has found its leader
        return True
    except Unavailable:
        return False
    return True


async def _exit_of(pid: int) -> None:
    """Wait until the process has exited, whether it is our child or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    _reap(pid)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
