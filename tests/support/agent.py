"""A host with its agent at work on a real store, in the test's own process; no API takes part."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import msgspec
import psycopg

from cenote.agent.backup_runner import BackupRunner
from cenote.agent.host_loop import COPIES_AT_ONCE, HostLoop
from cenote.controller.controller import Controller
from cenote.host import processes, programs
from cenote.model.changes import Program
from cenote.model.failover import HostFailover
from cenote.model.fleet_records import Host
from cenote.model.processes import Process
from cenote.model.record import Secret
from cenote.model.records import Cluster, Pool
from cenote.model.status_records import NodeStatus
from cenote.model.timing import DEFAULT, Timing
from cenote.model.topology import writer_or_first
from cenote.rules import record_formats
from cenote.server.failover import LAUNCHER
from cenote.stats.counters import Passes
from cenote.store import HostStore, Store
from cenote.store.client import EtcdClient
from cenote.store.etcd_options import CLIENT_SOCKET
from cenote.store.process import PrivateEtcd
from tests.support import records
from tests.support.etcd import SERVERS, opened_host, opened_store, private_etcd
from tests.support.lab import Lab, lab
from tests.support.waiting import wait_until_async

SETTLE_SECONDS = 60
PATRONI = "/cenote-patroni/"  # its keys
POOL = Pool(name="backend-pool", database="defaultdb", size=3, user="doadmin")


@dataclass
class AtWork:
    lab: Lab
    store: Store
    host: HostStore
    passes: Passes
    etcd: PrivateEtcd

    async def cluster(self, **changes: Any) -> Cluster:
        """Add a cluster with one pool and return it once it is there."""
        plain = msgspec.structs.replace(self.lab.new_cluster(), pools=(POOL,))
        cluster = msgspec.structs.replace(plain, **changes)
        await self.store.add_cluster(cluster)
        return await self.settled(cluster)

    async def change(self, cluster: Cluster, **changes: Any) -> Cluster:
        """Replace fields of the record; return it without waiting for what follows."""

        def changed(before: Cluster) -> Cluster:
            return records.with_removals(before, msgspec.structs.replace(before, **changes))

        return (await self.store.update_cluster(cluster.id, changed)).value

    async def settled(self, cluster: Cluster) -> Cluster:
        """Wait until the agent has nothing left to do for the record as it is now."""

        def done() -> bool:
            stored, status = self.store.cluster(cluster.id), self.status(cluster)
            return stored is not None and status.reached >= stored.revision and not status.reason

        await wait_until_async(f"{cluster.name} is as wanted", SETTLE_SECONDS, done)
        stored = self.store.cluster(cluster.id)
        assert stored is not None
        return stored.value

    async def reason(self, cluster: Cluster, part: str) -> NodeStatus:
        """Wait until the agent gives a reason in which these words stand."""

        found = self.status(cluster)

        def says_so() -> bool:
            nonlocal found
            found = self.status(cluster)
            return part in found.reason

        await wait_until_async(f"the reason says {part!r}", SETTLE_SECONDS, says_so)
        return found

    def status(self, cluster: Cluster) -> NodeStatus:
        unknown = NodeStatus(reached=0, reason="nothing is known yet", at=cluster.created_at)
        return self.store.status(cluster.id, writer_or_first(cluster).name) or unknown

    async def remove(self, cluster: Cluster) -> None:
        await self.store.delete_cluster(cluster.id, cluster.created_at)
        await wait_until_async(
            f"{cluster.name} is gone", SETTLE_SECONDS, lambda: self.store.cluster(cluster.id) is None
        )

    def server(self, cluster: Cluster) -> Program:
        return self.lab.wanted(cluster).server

    def bouncer(self, cluster: Cluster) -> Program:
        return self.lab.wanted(cluster).bouncer

    async def print_agreements(self, cluster: Cluster) -> None:
        """Print what Patroni keeps in the store of a cluster, and what the nodes report."""
        folder, client = f"{PATRONI}{cluster.id}/", EtcdClient(socket=self.etcd.socket)
        async for page in client.pages(folder, 100):
            for found in page.found:
                text = found.value.decode(errors="replace")
                sys.stderr.write(f"--- {found.key.decode().removeprefix(folder)}: {text}\n")
        await client.close()
        for name, report in sorted(self.store.reports(cluster.id).items()):
            sys.stderr.write(f"--- report of {name}: {report}\n")

    async def other_than(self, killed: Process, program: Program) -> Process:
        """Wait until another process has taken the place of one that was ended."""

        def another() -> Process | None:
            found = processes.find(program)
            return found if found != killed else None

        found = await wait_until_async(f"{program.name} is back", SETTLE_SECONDS, another)
        assert found is not None
        return found


def running(program: Program) -> Process:
    found = processes.find(program)
    assert found is not None, f"{program.name} does not run"
    return found


async def ask(
    cluster: Cluster,
    query: LiteralString = "SELECT 42",
    *,
    pool: str | None = "backend-pool",
    user: str = "doadmin",
    password: str = records.PASSWORD,
    database: str = "defaultdb",
) -> Any:
    """Log in as a client does, through a pool or straight to the server, and return the first value."""
    node = writer_or_first(cluster)
    async with await psycopg.AsyncConnection.connect(
        host="localhost",
        port=node.port if pool is None else node.pool_port,
        dbname=database if pool is None else pool,
        user=user,
        password=password,
        sslmode="require",
        connect_timeout=60,
        autocommit=True,
    ) as connection:
        cursor = await connection.execute(query)
        row = await cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]


async def answers(cluster: Cluster, **how: Any) -> bool:
    try:
        return bool(await ask(cluster, **how) == 42)
    except psycopg.Error:
        return False


async def refusal(cluster: Cluster, query: LiteralString = "SELECT 42", **how: Any) -> str:
    """What a client is told that is not let in, or not allowed to ask this."""
    try:
        answer = await ask(cluster, query, **how)
    except psycopg.Error as error:
        return str(error)
    raise AssertionError(f"{query} was answered: {answer!r}")


@asynccontextmanager
async def agent_at_work(
    timing: Timing, copies_at_once: int, *, keeps_backups: bool = False
) -> AsyncIterator[AtWork]:
    async with (
        lab(timing) as created,
        private_etcd(created.account.gid) as etcd,
        opened_store(etcd) as store,
        opened_host(etcd) as host_store,
    ):
        created.request_certificate, created.publish = host_store.request_certificate, host_store.publish
        created.host = dataclasses.replace(created.host, failover=failover_of(etcd))
        if keeps_backups:
            created.keep_backups()
        host = Host(
            id="here",
            name="here",
            address="localhost",
            memory_mib=8192,
            cpus=2,
            versions={created.version: created.version},
            reads=record_formats.HIGHEST,
            patroni="4.1.5",
            first_port=10_000,
            last_port=32_000,
        )
        loop = HostLoop(host_store, created.executor, created.host, host, copies_at_once=copies_at_once)
        tasks = [
            asyncio.create_task(loop.run()),
            asyncio.create_task(Controller(store, created.sealer, "here", "", timing).run()),
        ]
        if keeps_backups:
            program = created.backup_program
            tasks.append(
                asyncio.create_task(BackupRunner(host_store, created.host, program, created.executor).run())
            )
        try:
            yield AtWork(created, store, host_store, loop.passes, etcd)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def failover_of(etcd: PrivateEtcd) -> HostFailover:
    """What a host has for Patroni, on an etcd that asks for no login."""
    found = programs.find().patroni
    assert found is not None, "Patroni is not installed; run scripts/install-patroni.sh"
    return HostFailover(
        python=found.path.parent / "python",
        launcher=LAUNCHER,
        endpoints=lambda: [etcd.folder.path.parent / SERVERS / CLIENT_SOCKET],
        in_fleet=False,
        namespace=PATRONI,
        open=Secret,
        wants_login=False,
    )


Scenario = Callable[[AtWork], Awaitable[None]]


class Agents:
    """One agent for the tests of a module; it works while a test runs."""

    def __init__(self, runner: asyncio.Runner, at_work: AtWork) -> None:
        self._runner, self._at_work = runner, at_work

    def run(self, scenario: Scenario) -> None:
        self._runner.run(self._with_logs(scenario))

    async def _with_logs(self, scenario: Scenario) -> None:
        known = {stored.value.id for stored in self._at_work.store.clusters()}
        try:
            await scenario(self._at_work)
        except BaseException:
            self._at_work.lab.print_logs()
            for stored in self._at_work.store.clusters():
                await self._at_work.print_agreements(stored.value)
            raise
        finally:
            for stored in self._at_work.store.clusters():
                if stored.value.id not in known and stored.value.deleted_at is None:
                    await self._at_work.remove(stored.value)


def running_agents(
    timing: Timing = DEFAULT, copies_at_once: int = COPIES_AT_ONCE, *, keeps_backups: bool = False
) -> Iterator[Agents]:
    """The body of a fixture."""
    with asyncio.Runner() as runner:
        entered = agent_at_work(timing, copies_at_once, keeps_backups=keeps_backups)
        at_work = runner.run(entered.__aenter__())
        try:
            yield Agents(runner, at_work)
        finally:
            runner.run(entered.__aexit__(None, None, None))
