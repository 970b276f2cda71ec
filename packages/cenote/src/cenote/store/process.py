"""The etcd of one machine, a process that outlives the service.

Alone it listens on two unix sockets and on no port.  They are in a folder of our user with mode 0700;
connecting takes search permission on every folder of the path, so only this user and root can.  The socket
for clients has a second name, in a folder that the API's group may enter.  Who may do what by it is in
``access.py``.  One that is a member beside others listens on two ports as well; see ``etcd_options.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import IO

from cenote.errors import Misconfigured, Unavailable
from cenote.model import environment
from cenote.store import bolt, disk, etcd_options, etcd_process, members
from cenote.store.client import EtcdClient, LoginWanted
from cenote.store.etcd_options import CLIENT_SOCKET, PEER_SOCKET, Member
from cenote.store.tidying import tidy

log = logging.getLogger(__name__)

START_SECONDS = 30.0
STOP_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a process that ran longer did not fail because of how it was started
TIDY_SECONDS = 30.0  # between two looks at whether its database is full
PAUSE_AFTER_DEATH = 0.8  # seconds, at most
PAUSE_AFTER_FAILURE = 8.0  # seconds, at most
LOG_BYTES = 8 << 20
LEARNER = "not supported for learner"  # in etcd's refusals of what only a voter answers


class PrivateEtcd:
    """An etcd in ``directory``, on a unix socket there, outliving us: alone, or a member beside others.

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
        member: Member | None = None,
    ) -> None:
        """``administrator`` makes the client for the maintenance of an etcd that wants logins."""
        self.member = member or Member()
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

    @property
    def has_data(self) -> bool:
        """Whether it was started here before, and its data are there."""
        return (self._directory / "data" / "member").exists()

    @property
    def note(self) -> Path:
        """The file that says which member the data are."""
        return self._directory / "member"

    def data_missing(self) -> Misconfigured:
        return Misconfigured(
            f"the data of this host's etcd are missing in {self._directory}; if they are lost, run "
            "'cenote store replace' here, which makes it a new member"
        )

    def put_data_aside(self) -> None:
        """Keep the data of a member that is none any more, until others are put aside."""
        data, aside = self._directory / "data", self._directory / "data-removed"
        if data.exists():
            shutil.rmtree(aside, ignore_errors=True)
            data.rename(aside)

    async def start(self, initial_cluster: str = "") -> None:
        """Adopt the running etcd or start one; Misconfigured with the end of its log if it does not start.

        One that runs and listens elsewhere is started again.  ``initial_cluster`` are all members, with this
        one, when it is to join others; it counts at the first start only.  Unavailable when it runs and
        cannot serve, since it has to find a majority of its members first.
        """
        self._stopping = False
        await self._start(etcd_options.of(self.member, initial_cluster))

    async def start_alone(self) -> None:
        """Stop it, and start it as the only member of its cluster, with the records that are here.

        For a majority of members that is lost for good.  The data from before are kept aside.
        """
        self._stopping = False
        self._prepare()
        async with self._alone():  # an agent that watches over it waits, and takes over what is started here
            await self._end_running()
            kept = self._directory / "data-before-recovery"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self._directory / "data", kept)
            options = etcd_options.of(self.member)
            try:
                await self._answering(self._spawn(options | {"force-new-cluster": "true"}))
            except Misconfigured:
                # A learner cannot be made the only voter; what it has can begin a cluster.
                await self._end_running()
                self._take_records_of(kept)
            await self._end_running()
            await self._answering(self._spawn(options))
        await self._maintain()

    def _take_records_of(self, kept: Path) -> None:
        data = self._directory / "data"
        shutil.rmtree(data)
        records = data / "member" / "snap" / "db"
        for folder in (data, data / "member", data / "member" / "snap"):
            folder.mkdir(mode=0o700)
        shutil.copy2(kept / "member" / "snap" / "db", records)
        bolt.begin_new_cluster(records)

    async def _end_running(self) -> None:
        running = self.pid or self._unrecorded()
        if running is not None:
            await self._end(running)

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
                await self._start(etcd_options.of(self.member))
                pause = min(PAUSE_AFTER_DEATH, pause * 2 or 0.05)
            except (Misconfigured, Unavailable, OSError) as error:
                log.error("%s", error)
                pause = min(PAUSE_AFTER_FAILURE, pause * 2 or 0.5)

    async def _attend(self, pid: int) -> None:
        """Wait until the process has exited; tidy it up meanwhile whenever it is full."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY_SECONDS):
                    await etcd_process.exit_of(pid)
                    return
            await self._maintain(only_if_full=True)

    async def stop(self) -> None:
        """Stop it; by SIGKILL if SIGTERM does not."""
        self._stopping = True
        await self._end_running()

    async def _end(self, pid: int) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await etcd_process.exit_of(pid)
                    break
        self._pid_file.unlink(missing_ok=True)

    async def _start(self, options: Mapping[str, str]) -> None:
        self._prepare()
        async with self._alone():
            if self._stopping:
                return
            pid = self.pid or self._unrecorded()
            if pid is not None and self._listens_elsewhere(pid):
                log.info(
                    "etcd is started again as %s, listening at %s", self.member.name, self.member.peer_url
                )
                await self._end(pid)
                pid = None
            pid = pid or self._spawn(options)
        await self._answering(pid)
        await self._maintain()

    def _listens_elsewhere(self, pid: int) -> bool:
        command = etcd_process.command_of(pid, self._directory)
        return bool(command and command != [b""]) and etcd_options.started_otherwise(
            command or (), self.member
        )

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
        return etcd_process.command_of(pid, self._directory) is not None

    def _unrecorded(self) -> int | None:
        """Find an etcd whose service was killed before it wrote the pid file."""
        pid = etcd_process.find(self._directory)
        if pid is not None:
            self._record(pid)
        return pid

    def _record(self, pid: int) -> None:
        temporary = self._pid_file.with_suffix(".new")
        temporary.write_text(f"{pid}\n")
        temporary.replace(self._pid_file)

    def _spawn(self, options: Mapping[str, str]) -> int:
        if (
            self.member.listening is not None
            and options["initial-cluster-state"] == "new"
            and not self.has_data
        ):
            raise self.data_missing()  # an empty one with its name and address would be a store of its own
        for socket in (CLIENT_SOCKET, PEER_SOCKET):
            (self._directory / socket).unlink(missing_ok=True)
        try:
            with self._open_log() as output:
                process = subprocess.Popen(
                    etcd_options.command_line(self._etcd, options),
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

    def _open_log(self) -> IO[bytes]:
        if self._log_file.exists() and self._log_file.stat().st_size > LOG_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        return self._log_file.open("ab")

    async def _answering(self, pid: int) -> None:
        """Wait until it serves reads; for that, a member beside others needs a majority of them."""
        client = EtcdClient(socket=self._directory / CLIENT_SOCKET)
        deadline = time.monotonic() + START_SECONDS
        linked = False
        try:
            while True:
                if not linked and (self._directory / CLIENT_SOCKET).exists():
                    self._open_to_clients()
                    linked = True
                # A read, not /health: etcd with an exceeded quota is unhealthy, and that is fixed only later.
                if linked and await _reads(client):
                    return
                etcd_process.reap(pid)
                if not self._is_ours(pid):
                    raise Misconfigured(f"etcd ended while it started{self._why()}")
                if time.monotonic() > deadline:
                    if self.member.listening is not None:
                        raise Unavailable("etcd runs here and waits for a majority of its members")
                    raise Misconfigured(f"etcd does not answer{self._why()}")
                await asyncio.sleep(0.005)
        finally:
            await client.close()

    def _why(self) -> str:
        full = disk.full(self._directory.parent)
        return f"{f': {full}' if full else ''}; its last words:\n{self._last_words()}"

    def _last_words(self) -> str:
        try:
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-10:])
        except OSError:
            return "(none)"

    async def _maintain(self, *, only_if_full: bool = False) -> None:
        """Tidy it up, and have the members know where this one listens."""
        client = EtcdClient(socket=self.socket)
        try:
            if self._administrator is not None and await _wants_login(client):
                await client.close()
                client = self._administrator(self.socket)
            await tidy(client, only_if_full=only_if_full)
            if self.member.listening is not None:
                await members.ensure_peer_url(client, self.member.peer_url)
        except Unavailable as error:
            if LEARNER not in error.message:
                log.warning("etcd's database could not be tidied: %s", error)
        finally:
            await client.close()


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
    except Unavailable as error:
        return LEARNER in error.message
    return True


def _environment() -> dict[str, str]:
    if platform.machine() == "aarch64":  # etcd 3.4 refuses to run there without it
        return dict(environment.OF_PROGRAMS) | {"ETCD_UNSUPPORTED_ARCH": "arm64"}
    return dict(environment.OF_PROGRAMS)
