"""The etcd of one machine, a process that outlives the service.

Alone it listens on two unix sockets and on no port.  They are in a folder of our user with mode 0700;
connecting takes search permission on every folder of the path, so only this user and root can.  The socket
for clients has a second name, in a folder that the API's group may enter.  Who may do what by it is in
``access.py``.  One that is a member beside others listens on two ports as well; see ``etcd_options.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cenote.errors import Misconfigured, Unavailable
from cenote.model import environment
from cenote.store import etcd_options, etcd_process, members
from cenote.store.client import EtcdClient, LoginWanted
from cenote.store.etcd_folder import EtcdFolder
from cenote.store.etcd_options import Member
from cenote.store.tidying import tidy

log = logging.getLogger(__name__)

START_SECONDS = 30.0
STOP_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a process that ran longer did not fail because of how it was started
TIDY_SECONDS = 30.0  # between two looks at whether its database is full
PAUSE_AFTER_DEATH = 0.8  # seconds, at most
PAUSE_AFTER_FAILURE = 8.0  # seconds, at most
LEARNER = "not supported for learner"  # in etcd's refusals of what only a voter answers


class PrivateEtcd:
    """An etcd in ``directory``, on a unix socket there, outliving us: alone, or a member beside others.

    With ``clients``, the socket also stands in that folder, which ``group`` may enter, and with ``servers``
    in one for the account of the servers (see ``EtcdFolder``).
    """

    def __init__(
        self,
        directory: Path,
        etcd: Path = Path("/usr/bin/etcd"),
        *,
        clients: Path | None = None,
        group: int | None = None,
        servers: tuple[Path, int | None] | None = None,
        administrator: Callable[[Path], EtcdClient] | None = None,
        member: Member | None = None,
    ) -> None:
        """``administrator`` makes the client for the maintenance of an etcd that wants logins."""
        self.member = member or Member()
        self.folder = EtcdFolder(directory, clients, group, servers)
        self._etcd = etcd
        self._administrator = administrator
        self._stopping = False

    @property
    def socket(self) -> Path:
        """Where its JSON client listens: for ``EtcdClient(socket=…)``."""
        return self.folder.socket

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        return self.folder.recorded()

    @property
    def has_data(self) -> bool:
        """Whether it was started here before, and its data are there."""
        return self.folder.has_data

    async def start(self, initial_cluster: str = "") -> None:
        """Adopt the running etcd or start one; Misconfigured with the end of its log if it does not start.

        One that runs and listens elsewhere is started again.  ``initial_cluster`` are all members, with this
        one, when it is to join others; it counts at the first start only.  Unavailable when it runs and
        cannot serve, since it has to find a majority of its members first.
        """
        self._stopping = False
        await self._start(etcd_options.of(self.member, initial_cluster))

    async def start_alone(self, *, learner: bool) -> None:
        """Stop it, and start it as the only member of its cluster, with the records that are here.

        For a majority of members that is lost for good.  The data from before are kept aside.  ``learner``
        says that it may have had no vote.
        """
        self._stopping = False
        self.folder.prepare()
        self.folder.finish_replacement()
        async with (
            self.folder.alone()
        ):  # an agent that watches over it waits, and takes over what is started here
            await self._end_running()
            kept = self.folder.keep_copy()
            options = etcd_options.of(self.member)
            try:
                await self._answering(self._spawn(options | {"force-new-cluster": "true"}))
            except Misconfigured:
                if not learner:
                    raise
                # A learner cannot be made the only voter; what it has can begin a cluster.
                await self._end_running()
                self.folder.take_records_of(kept)
            await self._end_running()
            await self._answering(self._spawn(options))
        await self._maintain()

    async def _end_running(self) -> None:
        running = self.pid or self.folder.unrecorded()
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
        self.folder.forget()

    async def _start(self, options: Mapping[str, str]) -> None:
        self.folder.prepare()
        async with self.folder.alone():
            if self._stopping:
                return
            pid = self.pid or self.folder.unrecorded()
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
        command = etcd_process.command_of(pid, self.folder.path)
        return bool(command and command != [b""]) and etcd_options.started_otherwise(
            command or (), self.member
        )

    def _spawn(self, options: Mapping[str, str]) -> int:
        if (
            self.member.listening is not None
            and options["initial-cluster-state"] == "new"
            and not self.has_data
        ):
            # An empty one with its name and address would be a store of its own.
            raise self.folder.data_missing()
        self.folder.remove_sockets()
        try:
            with self.folder.open_log() as output:
                process = subprocess.Popen(
                    etcd_options.command_line(self._etcd, options),
                    cwd=self.folder.path,  # socket paths are short this way, whatever the directory's is
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
        self.folder.record(process.pid)
        return process.pid

    async def _answering(self, pid: int) -> None:
        """Wait until it serves reads; for that, a member beside others needs a majority of them."""
        client = EtcdClient(socket=self.folder.own_socket)
        deadline = time.monotonic() + START_SECONDS
        linked = False
        try:
            while True:
                if not linked and self.folder.own_socket.exists():
                    self.folder.open_to_clients()
                    linked = True
                # A read, not /health: etcd with an exceeded quota is unhealthy, and that is fixed only later.
                if linked and await _reads(client):
                    return
                etcd_process.reap(pid)
                if not self.folder.runs(pid):
                    raise Misconfigured(f"etcd ended while it started{self.folder.why()}")
                if time.monotonic() > deadline:
                    if self.member.listening is not None:
                        raise Unavailable("etcd runs here and waits for a majority of its members")
                    raise Misconfigured(f"etcd does not answer{self.folder.why()}")
                await asyncio.sleep(0.005)
        finally:
            await client.close()

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
