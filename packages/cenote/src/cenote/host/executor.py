"""Carries out changes, one at a time, and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeAlias, assert_never
from uuid import UUID

from cenote.conf.hba import SUPERUSER
from cenote.errors import CenoteError, Misconfigured
from cenote.host import (
    files,
    log_files,
    patroni_rest,
    pauses,
    process_identity,
    processes,
    safe_open,
    sql,
    stopping,
    templates,
    trash,
)
from cenote.host.pauses import Hold, Pooler
from cenote.host.processes import Account
from cenote.model.changes import (
    Change,
    CopyTemplate,
    Discard,
    Disconnect,
    EndProcesses,
    Exchange,
    HoldPools,
    MakeDirectory,
    MakeEmptyData,
    Program,
    Publish,
    Refuse,
    Reload,
    Remove,
    RemoveMark,
    Rename,
    RequestCertificate,
    Restart,
    RestartByPatroni,
    Resume,
    ShortenLog,
    Sql,
    SqlAlone,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.paths import PATRONI, POSTGRESQL, Layout
from cenote.model.pauses import AGENT, MOVE, OURS
from cenote.model.processes import Process
from cenote.model.record import Secret
from cenote.security import certificates

log = logging.getLogger(__name__)

_RELOAD_SECONDS = 10
_GRACE_SECONDS = 1.0


# Puts Patroni's shared configuration of a cluster into the store, logged in by a password.
Publishing: TypeAlias = Callable[[UUID, bytes, Secret | None], Awaitable[None]]


class Executor:
    """Carries out the changes of this host's nodes, as the system account of the servers."""

    def __init__(
        self,
        layout: Layout,
        account: Account,
        binaries: dict[str, Path],
        request_certificate: Callable[[UUID, str], Awaitable[None]],
        publish: Publishing | None = None,
    ) -> None:
        """``request_certificate`` hands the request for a cluster, in PEM, to whoever signs it.

        ``publish`` is for what Patroni of all nodes follows.
        """
        self.layout = layout
        self.account = account
        self._binaries = binaries
        self._request_certificate = request_certificate
        self._publish = publish
        self._template_lock = asyncio.Lock()
        self._copied = asyncio.Event()
        self._holds: dict[Path, Hold] = {}
        self._holding = asyncio.Lock()  # a pass and the watch on the writer may want the same hold
        self._spare_guard = pauses.SpareGuard()

    def prepare_hold(self) -> None:
        """Have the next hold of pools begin at once; CenoteError if that cannot be."""
        self._spare_guard.prepare()

    def release_hold(self) -> None:
        """End what was started for that."""
        self._spare_guard.close()

    def holds(self, pooler: Program, pools: Collection[str]) -> bool:
        """Return whether this process holds all of these pools, and none of their clients has a server."""
        hold = self._holds.get(pooler.directory)
        return hold is not None and hold.pools.issuperset(pools) and hold.lasts()

    async def do(self, change: Change, session: sql.Session) -> None:
        """Carry out one change; raise CenoteError or OSError if it fails."""
        match change:
            case MakeDirectory(path, mode, owner):
                files.make_directory(path, mode, owner)
            case WriteFile(path, content, mode, for_servers, durable):
                owner = self.account.owner if for_servers else None
                files.write(path, content, mode, owner, durable=durable)
            case Remove(path) | RemoveMark(path):
                await asyncio.to_thread(files.remove, path)
            case Discard(paths, note):
                try:
                    await asyncio.to_thread(trash.put, self.layout, paths, note)
                except trash.OtherFileSystem as error:
                    if note.deleted_at is None:
                        raise
                    log.warning("what was deleted cannot be kept, and is removed: %s", error)
            case Rename(source, target):
                safe_open.rename_new(source, target)
                files.sync_directory(target.parent)
            case ShortenLog(path, keep_from, kept):
                log_files.shorten(path, keep_from, kept)
            case CopyTemplate(version, target):
                source = await self.template(version)
                await asyncio.to_thread(templates.copy, source, target, self.account.owner)
                self._copied.set()
            case MakeEmptyData():
                await asyncio.to_thread(self._make_empty_data, change)
            case SqlAlone(version, data, database, _, statements):
                run = templates.run_alone
                await asyncio.to_thread(run, self._binary(version), data, self.account, database, statements)
            case Exchange(first, second):
                safe_open.exchange(first, second)
                files.sync_directory(first.parent)
            case RequestCertificate(cluster_id, path):
                key, request = certificates.new_request()
                await self._request_certificate(cluster_id, request)
                files.write(path, key.encode("ascii"), 0o600, None, durable=False)
            case Start(program, digest):
                self._start(program, digest)
            case Reload(program, digest):
                await self._reload(program, digest, session)
            case Publish(cluster_id, content, password):
                if self._publish is None:
                    raise CenoteError("there is no store to tell Patroni's configuration")
                await self._publish(cluster_id, content, password)
            case Stop(program):
                await session.close()
                await stopping.stop_program(program)
            case Restart(program, pooler, digest, patience):
                await self._restart(program, pooler, digest, patience, session)
            case RestartByPatroni():
                await patroni_rest.restart(change)
            case HoldPools():
                await self._hold_pools(change, session)
            case Resume(pooler):
                await self._resume(pooler, session)
            case EndProcesses(directory, executable):
                await self._end_processes(directory, executable)
            case Sql(database, summary, statements, atomic):
                await session.run(database, summary, statements, atomic)
            case Disconnect(clients):
                await session.disconnect_clients(clients)
            case Wait() | Refuse():
                pass
            case _:
                assert_never(change)

    async def template(self, version: str) -> Path:
        """Return the template of a major version; the first call for a version creates it."""
        binaries = self._binary(version)
        async with self._template_lock:
            return await asyncio.to_thread(
                templates.find_or_create, self.layout.templates, binaries, self.account
            )

    def _binary(self, version: str) -> Path:
        """Return the folder of the programs of a major version; Misconfigured without one."""
        binaries = self._binaries.get(version)
        if binaries is None:
            raise Misconfigured(
                f"PostgreSQL {version} is not installed; install postgresql-{version} and restart Cenote"
            )
        return binaries

    def _make_empty_data(self, change: MakeEmptyData) -> None:
        files.make_directory(change.target, 0o700, self.account.owner)
        binaries, contents = self._binary(change.version), dict(change.files)
        templates.create_empty(binaries, change.target, self.account, change.statements, contents)

    async def prepare_template(self, version: str) -> Path:
        """Create a template and its spare copy unless they exist; return the template."""
        source = await self.template(version)
        await asyncio.to_thread(templates.create_spare, source, self.account.owner)
        return source

    async def remove_outdated_templates(self, kept: Collection[Path]) -> None:
        """Remove all but these templates and their spares; call it only while no spare is being created."""
        async with self._template_lock:
            await asyncio.to_thread(templates.remove_outdated, self.layout.templates, kept)

    async def wait_for_copy(self) -> None:
        """Wait until a template is copied for a cluster, which may use up a spare."""
        await self._copied.wait()
        self._copied.clear()

    async def refused_settings(self, program: Program, settings: dict[str, str]) -> dict[str, str]:
        """Return the settings that PostgreSQL does not accept."""
        return await asyncio.to_thread(processes.refused_settings, program, self.account, settings)

    async def _end_processes(self, directory: Path, executable: str | None) -> None:
        """End the servers' processes below a directory; somebody else's, such as a shell, are left alone."""
        found = processes.below(directory, executable)
        # PostgreSQL releases its shared memory on SIGQUIT; on SIGKILL it cannot.
        ends = (
            stopping.stop(process, signal.SIGQUIT, _GRACE_SECONDS, user=self.account.user_id)
            for process in found
            if process_identity.runs_as(process.pid, self.account.user_id)
        )
        await asyncio.gather(*ends)

    def _start(self, program: Program, digest: str) -> None:
        process = processes.start(program, self.account)
        if process is not None:
            self._stamp(program, process, digest)

    async def _restart(
        self, program: Program, pooler: Program, digest: str, patience: float, session: sql.Session
    ) -> None:
        await asyncio.to_thread(processes.check_configuration, program, self.account)
        await session.close()
        async with contextlib.AsyncExitStack() as stack:
            if processes.find(pooler) is not None:
                await stack.enter_async_context(self._paused(program, pooler, patience, session))
            await stopping.stop_program(program)
            self._start(program, digest)

    @contextlib.asynccontextmanager
    async def _paused(
        self, program: Program, pooler: Program, patience: float, session: sql.Session
    ) -> AsyncIterator[None]:
        """Pause the pooler; it stays paused after the block, until ``_resume``, unless the block fails."""
        place = Pooler(_folder_of_pause(pooler), session.sockets / f".s.PGSQL.{session.pool_port}")
        self._let_go(pooler)
        hold = await pauses.hold(place, AGENT, f"{program.name} is being restarted")
        self._holds[pooler.directory] = hold
        try:
            async with sql.paused(session.sockets, session.pool_port, patience):
                yield
        except BaseException:
            self._let_go(pooler)
            raise

    async def _hold_pools(self, change: HoldPools, session: sql.Session) -> None:
        """Pause pools one by one, since a single session would keep a pause of all of them waiting."""
        pooler = change.pooler
        place = Pooler(_folder_of_pause(pooler), session.sockets / f".s.PGSQL.{session.pool_port}")
        async with self._holding:
            hold = self._holds.get(pooler.directory)
            if hold is None or not hold.lasts():
                self._let_go(pooler)
                self._holds[pooler.directory] = await pauses.hold(place, MOVE, change.why, self._spare_guard)
        try:
            place_of_pools = session.sockets, session.pool_port
            await sql.pause_pools(*place_of_pools, change.pools, change.patience, change.cut)
            if (hold := self._holds.get(pooler.directory)) is not None:
                hold.pools = frozenset(change.pools)
        except CenoteError:
            if change.or_none:
                await self._resume(pooler, session)
            if not change.anyway:
                raise
        except BaseException:
            if change.or_none:
                await self._resume(pooler, session)
            raise

    async def _resume(self, pooler: Program, session: sql.Session) -> None:
        await session.resume()
        self._let_go(pooler)
        await pauses.remove(_folder_of_pause(pooler), *OURS)

    def _let_go(self, pooler: Program) -> None:
        hold = self._holds.pop(pooler.directory, None)
        if hold is not None:
            hold.let_go()

    async def _reload(self, program: Program, digest: str, session: sql.Session) -> None:
        process = processes.find(program)
        if process is None:
            raise CenoteError(f"{program.name} ended before it could reload its configuration")
        if program.name == POSTGRESQL:
            await _reload_server(session)
        elif program.name == PATRONI:
            await stopping.signal_program(program, signal.SIGHUP)
        else:
            await session.console("RELOAD")
        self._stamp(program, process, digest)

    def _stamp(self, program: Program, process: Process, digest: str) -> None:
        content = f"{process.pid} {process.started} {digest}\n".encode()
        files.write(program.stamp, content, 0o600, None, durable=False)


def _folder_of_pause(pooler: Program) -> Path:
    """Return the cluster's folder, which is ours; the pooler's own is the servers' account's."""
    return pooler.stamp.parent


async def _reload_server(session: sql.Session) -> None:
    """Reload PostgreSQL and wait until new connections have the new configuration.

    The signal is asynchronous, and only connections made after the reload show the new time of it, which is
    earlier than the last one if the clock was set back.
    """
    [(before,)] = await session.rows(SUPERUSER, "SELECT pg_conf_load_time() FROM pg_reload_conf()")
    deadline = asyncio.get_running_loop().time() + _RELOAD_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        await session.close()
        [(after,)] = await session.rows(SUPERUSER, "SELECT pg_conf_load_time()")
        if after != before:
            return
        await asyncio.sleep(0.005)
    raise CenoteError("PostgreSQL did not reload its configuration within 10 seconds")
