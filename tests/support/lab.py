"""A host in a temporary folder, whose nodes are brought to what is wanted step by step, without a service."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import pwd
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, LiteralString
from uuid import UUID, uuid4

from msgspec.structs import replace
from psycopg.sql import SQL

from cenote.agent.node_pass import NodePass, Waiting
from cenote.controller.certificates import issued
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.host import files, processes, programs, system
from cenote.host.backup_program import BackupProgram
from cenote.host.executor import Executor, Publishing
from cenote.host.processes import Account
from cenote.host.sql import Session
from cenote.model import parameters
from cenote.model.backups import Repository, RepositoryKind
from cenote.model.changes import Change, EndProcesses, Reload, Sql, Start, Stop, WriteFile
from cenote.model.fleet_records import CertificateRequest
from cenote.model.host_backups import HostBackups
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.model.records import Cluster, Removal, RemovalKind
from cenote.model.timing import DEFAULT, Timing
from cenote.model.topology import writer_or_first
from cenote.security.sealing import Sealer
from tests.support import records
from tests.support.folders import server_folder
from tests.support.ports import free_range

SETTLE_SECONDS = 60


class _Crash(Exception):
    """The service was killed."""


class CrashingExecutor(Executor):
    """The product's executor, which notes what it does and can be stopped short of any change."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._done: list[Change] = []
        self._left: int | None = None

    @contextlib.contextmanager
    def crashing_after(self, changes: int | None) -> Iterator[list[Change]]:
        """Carry out so many changes and no more; yield the list of what was done, which grows."""
        self._done, self._left = [], changes
        try:
            yield self._done
        except _Crash:
            pass
        finally:
            self._left = None

    async def do(self, change: Change, session: Session) -> None:
        if self._left is not None:
            if self._left == 0:
                raise _Crash
            self._left -= 1
        await super().do(change, session)
        self._done.append(change)


class Lab:
    """One host: ``change`` an end state, ``converge`` to it, look at what there is."""

    def __init__(self, folder: Path, timing: Timing = DEFAULT) -> None:
        found = programs.find()
        problems = programs.problems(found, needs_etcd=False)
        assert not problems, problems
        assert found.pgbouncer is not None
        self.folder = folder
        self.layout = Layout(folder)
        self.sealer = Sealer(folder / "authority.key")
        self.account = _account()
        binaries = {major: install.bin for major, install in found.postgres.items()}
        self.version = max(binaries, key=int)
        self._records: dict[UUID, Cluster] = {}
        self.notes_removals = True
        self._things: dict[UUID, dict[tuple[RemovalKind, str], Removal | None]] = {}  # removed, or None
        self.certificates: dict[UUID, str] = {}
        self.request_certificate = self._sign
        self.publish: Publishing | None = None
        self.executor = CrashingExecutor(
            self.layout,
            self.account,
            binaries,
            lambda id, pem: self.request_certificate(id, pem),
            self._publish,
        )
        self.host = HostContext(
            layout=self.layout,
            listen=("127.0.0.1",),
            service_user=pwd.getpwuid(os.geteuid()).pw_name,
            server_user=self.account.name,
            binaries=binaries,
            pgbouncer=found.pgbouncer.path,
            memory_mib=system.memory_mib(),
            libraries={
                major: parameters.libraries(system.libraries(folder)) for major, folder in binaries.items()
            },
            timing=timing,
            server_ids=self.account.owner,
        )

    def keep_backups(self) -> None:
        """Have backups made into a repository of this host."""
        found = programs.find().pgbackrest
        assert found is not None
        newest = programs.newest_read(found)
        self.version = max((major for major in self.host.binaries if int(major) <= newest), key=int)
        self.backup_program = BackupProgram(found.path, self.account)
        files.make_directory(self.repository, 0o750, self.account.owner)
        kept = HostBackups(
            repository=Repository(RepositoryKind.FILE, PurePosixPath(self.repository)),
            days=7,
            program=found.path,
            newest=newest,
            credentials={},
            open=self.sealer.open,
        )
        self.host = dataclasses.replace(self.host, backups=kept)

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def new_cluster(self) -> Cluster:
        return records.cluster(self.sealer, port=free_range(2), version=self.version)

    def wanted(self, cluster: Cluster) -> NodeContext:
        """Return the context of a node; what its record has no more counts as removed by a request."""
        if self.notes_removals:
            cluster = self._with_removals(cluster)
        self._records[cluster.id] = cluster
        certificate = self.certificates.get(cluster.id)
        return NodeContext(cluster, writer_or_first(cluster), self.host, issued_certificate=certificate)

    def _with_removals(self, cluster: Cluster) -> Cluster:
        known = self._things.setdefault(cluster.id, {})
        there = {(RemovalKind.USER, one.name) for one in cluster.users}
        there |= {(RemovalKind.DATABASE, one.name) for one in cluster.databases}
        for kind, name in known.keys() - there:
            noted = cluster.removal(kind, name) or known[kind, name]
            known[kind, name] = noted or Removal(id=uuid4(), kind=kind, name=name, at=cluster.created_at)
        known.update(dict.fromkeys(there))
        missing = [one for one in known.values() if one is not None and one not in cluster.removing]
        return replace(cluster, removing=(*cluster.removing, *missing))

    async def _sign(self, cluster_id: UUID, pem: str) -> None:
        """Sign at once, as the controller would."""
        request = CertificateRequest(pem=pem)
        cluster = self._records[cluster_id]
        host_id = writer_or_first(cluster).host
        self.certificates[cluster_id] = issued(request, host_id, cluster, self.sealer)

    async def _publish(self, cluster_id: UUID, shared: bytes, password: Secret | None) -> None:
        assert self.publish is not None
        await self.publish(cluster_id, shared, password)

    def session(self, cluster: Cluster) -> Session:
        node = writer_or_first(cluster)
        return Session(self.layout.cluster(cluster.id).sockets, node.port, node.pool_port)

    async def converge(self, cluster: Cluster, *, stop_after: int | None = None) -> list[Change]:
        """Make passes until nothing is left to do; return what was done.

        With ``stop_after`` the work ends after so many changes, as if the service had been killed there.
        """
        node_pass = NodePass(self.executor, asyncio.Semaphore(4))
        with self.executor.crashing_after(stop_after) as done:
            async with asyncio.timeout(SETTLE_SECONDS):
                while await self._needs_another(node_pass, cluster):
                    await asyncio.sleep(0.01)
        return done

    async def _needs_another(self, node_pass: NodePass, cluster: Cluster, *, full: bool = True) -> bool:
        session = self.session(cluster)
        try:
            wanted = self.wanted(cluster)
            await node_pass.run(wanted, session, full=full)
            if node_pass.sql_changes.has_other_users:
                return True
            return node_pass.has_drops and await node_pass.drops.run(wanted, session) is not None
        except Waiting:
            return True
        finally:
            await session.close()

    async def change_while_watched(self, before: Cluster, after: Cluster) -> list[Change]:
        """Bring a cluster from one record to another as the agent does, and return what was done.

        The pass after the change looks only at what the change can touch.
        """
        node_pass = NodePass(self.executor, asyncio.Semaphore(4))
        while await self._needs_another(node_pass, before):
            await asyncio.sleep(0.01)
        full = False
        with self.executor.crashing_after(None) as done:
            async with asyncio.timeout(SETTLE_SECONDS):
                while await self._needs_another(node_pass, after, full=full):
                    await asyncio.sleep(0.01)
                    full = True
        return done

    async def plan(self, cluster: Cluster) -> list[Change]:
        """Return what would be done, of every part, without doing any of it."""
        session = self.session(cluster)
        try:
            node_pass = NodePass(self.executor, asyncio.Semaphore(4))
            return await node_pass.plan(self.wanted(cluster), session)
        finally:
            await session.close()

    async def remove(self, cluster: Cluster, *, stop_after: int | None = None) -> list[Change]:
        """Remove all of a cluster, or break the work off after so many changes; return what was done."""
        node_pass = NodePass(self.executor, asyncio.Semaphore(4))
        with self.executor.crashing_after(stop_after) as done:
            await node_pass.remove(self.wanted(cluster), self.session(cluster))
        processes.reap()
        return done

    def remains(self, cluster: Cluster) -> list[str]:
        """Return the processes and folders of a cluster that are there."""
        paths = self.layout.cluster(cluster.id)
        found = [str(process) for process in processes.below(paths.root)]
        for parent, name in (
            (self.layout.clusters, str(cluster.id)),
            (self.layout.sockets, paths.sockets.name),
        ):
            found += [str(path) for path in parent.glob(f"*{name}*")]
        return found

    def print_logs(self) -> None:
        paths = (self.folder.glob(f"clusters/*/{name}") for name in ("*.log", "patroni*/patroni.log"))
        for path in sorted(itertools.chain(*paths)):
            lines = path.read_text(errors="replace").splitlines()
            # Patroni says once a second that there is nothing to do, and prints all of pg_controldata.
            text = [line for line in lines if line.strip() and not _says_nothing(line)][-60:]
            sys.stderr.write(f"--- {path}\n" + "\n".join(text) + "\n")

    async def run(self, cluster: Cluster, statement: LiteralString, database: str = "postgres") -> None:
        """Have the server itself do something, as its superuser."""
        session = self.session(cluster)
        try:
            await session.run(database, "a step of a test", (SQL(statement),), True)
        finally:
            await session.close()

    async def rows(self, cluster: Cluster, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Ask the server itself, as its superuser."""
        session = self.session(cluster)
        try:
            return await session.rows(database, query)
        finally:
            await session.close()


def _says_nothing(line: str) -> bool:
    return line.startswith("  ") or "INFO: no action." in line or "INFO: Lock owner: " in line


@asynccontextmanager
async def lab(timing: Timing = DEFAULT) -> AsyncIterator[Lab]:
    """A host for one test: its servers are ended and its folder removed at the end; on failure their logs are
    printed."""
    with server_folder() as folder:
        created = Lab(folder, timing)
        try:
            yield created
        except BaseException:
            created.print_logs()
            raise
        finally:
            await end_servers(created.executor, folder)


Share = Callable[[Callable[[Lab], Awaitable[None]]], None]


def shared_lab(timing: Timing = DEFAULT) -> Iterator[Share]:
    """The body of a fixture: a host for a module's tests, each of which has clusters of its own on it.

    Making the template takes longer than most tests.
    """
    with asyncio.Runner() as runner:
        opened = lab(timing)
        host = runner.run(opened.__aenter__())

        async def use(scenario: Callable[[Lab], Awaitable[None]]) -> None:
            try:
                await scenario(host)
            except BaseException:
                host.print_logs()
                raise
            finally:
                await host.executor.do(EndProcesses(host.layout.clusters), Session(host.folder, 0, 0))
                files.remove(host.layout.clusters)
                files.remove(host.layout.sockets)

        try:
            yield lambda scenario: runner.run(use(scenario))
        finally:
            runner.run(opened.__aexit__(None, None, None))


def in_words(changes: list[Change]) -> list[str]:
    """Return a short description of each change, without paths that differ between two runs."""
    return [_in_words(change) for change in changes]


def _in_words(change: Change) -> str:
    match change:
        case WriteFile(path):
            return f"write {path.name}"
        case Sql(database, summary):
            return f"{summary} in {database}"
        case Start(program) | Reload(program) | Stop(program):
            return f"{type(change).__name__.lower()} {program.name}"
        case _:
            return type(change).__name__


async def end_servers(executor: Executor, folder: Path) -> None:
    """End whatever works below a folder."""
    nowhere = Session(folder, 0, 0)
    await executor.do(EndProcesses(folder), nowhere)
    processes.reap()


def _account() -> Account:
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()).pw_name)
    entry = pwd.getpwnam("postgres")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
