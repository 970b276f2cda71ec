"""The move of a one-node cluster to another host, stage by stage."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import replace

from cenote.host import processes, programs
from cenote.model.paths import Layout
from cenote.model.processes import Process
from cenote.model.records import FirewallRule, MoveStage, SourceType
from cenote.security import certificates
from cenote.security.sealing import Sealer
from tests.support import process_table
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.mover import Mover, mover
from tests.support.service import online_cluster
from tests.support.waiting import wait_until_async

CLIENTS = 8
_numbers, _ports = itertools.count(1), itertools.count()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Fleet]:
    with fleet(2) as found:
        yield found


@dataclass
class Bench:
    """What ``pgbench`` has seen; ``held`` is the longest that a transaction took, in seconds."""

    failed: str = ""
    done: int = 0
    held: float = 0.0

    def count(self, folder: Path) -> None:
        """Read the logs that pgbench has left in a folder."""
        for path in folder.glob("log*"):
            for line in path.read_text().splitlines():
                self.done += 1
                self.held = max(self.held, int(line.split()[2]) / 1e6)


@dataclass
class Moving:
    """A cluster that is made on the first of two hosts."""

    hosts: Fleet
    cluster: Any
    mover: Mover
    nodes: dict[int, Any] = field(default_factory=dict)  # by the number of their host

    def host(self, number: int) -> FleetHost:
        return self.hosts.hosts[number - 1]

    async def begin(self) -> None:
        """Have it copied to the second host."""
        self._remember()
        await self.mover.begin("host-2", self.host(2).first_port + 2 * next(_ports))
        self._remember()

    def _remember(self) -> None:
        names = {host.id: host.name for host in self.mover.store.known_hosts()}
        for node in self.mover.cluster.nodes:
            self.nodes[int(names[node.host].rpartition("-")[2])] = node

    def conninfo(self, pool: str | None = "pool", *, host: int = 1) -> str:
        self._remember()
        node = self.nodes[host]
        return (
            f"host=127.0.1.{host} port={node.port if pool is None else node.pool_port} sslmode=require "
            f"dbname={pool or 'defaultdb'} user=doadmin password={self.cluster['connection']['password']}"
        )

    async def ask(self, query: str, pool: str | None = "pool", *, host: int = 1) -> Any:
        async with await psycopg.AsyncConnection.connect(
            self.conninfo(pool, host=host), autocommit=True, connect_timeout=20
        ) as connection:
            cursor = await connection.execute(query.encode())
            row = await cursor.fetchone() if cursor.description else None
            return None if row is None else row[0]

    async def prepare(self) -> None:
        """Make what shall be there after the move, too."""
        done = await asyncio.create_subprocess_exec(
            *(_pgbench(), "-i", "-q", self.conninfo(None)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await done.wait() == 0
        await self.ask("CREATE SEQUENCE numbers", None)
        await self.ask("SELECT nextval('numbers') FROM generate_series(1, 3)", None)
        await self.ask("CREATE ROLE reader LOGIN PASSWORD 'a secret of a reader'", None)

    def show_former_certificate(self) -> None:
        """Give the first host a certificate as former versions issued them, which does not name the host."""
        layout, cluster = Layout(self.host(1).data_dir), self.mover.cluster
        key = Sealer(layout.api_sealing_key).open(cluster.authority.sealed_key).reveal()
        names = certificates.names_of(self.certificate(1))
        former = certificates.issue(cluster.authority.certificate, key, names)
        layout.cluster(cluster.id).certificate.write_bytes(former)

    def certificate(self, host: int) -> bytes:
        """Return the certificate that a host shows, with its key."""
        return Layout(self.host(host).data_dir).cluster(self.mover.cluster.id).certificate.read_bytes()

    async def may_replicate(self, certificate: int) -> bool:
        """Return whether the first host's server lets in who shows the certificate of a host."""
        node = self.nodes[1]
        with tempfile.NamedTemporaryFile() as shown:
            shown.write(self.certificate(certificate))
            shown.flush()
            try:
                async with await psycopg.AsyncConnection.connect(
                    f"host=127.0.1.1 port={node.port} user=postgres replication=true sslmode=require "
                    f"sslcert={shown.name} sslkey={shown.name}",
                    autocommit=True,
                ):
                    return True
            except psycopg.OperationalError as error:
                if "certificate authentication failed" not in str(error):
                    raise
                return False

    @contextlib.asynccontextmanager
    async def bench(self, *options: str) -> AsyncIterator[Bench]:
        """Keep the pool busy for as long as the block runs, and see that no query fails."""
        seen = Bench()
        with tempfile.TemporaryDirectory() as folder:
            process = await asyncio.create_subprocess_exec(
                *(_pgbench(), "-N", "-n", "-c", str(CLIENTS), "-j", "2", "-T", "600"),
                *("-l", "--log-prefix", f"{folder}/log", "-M", "simple", *options, self.conninfo()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                await asyncio.sleep(1)
                yield seen
                await asyncio.sleep(1)
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGALRM)  # as if its time were over
                output = (await process.communicate())[0].decode()
            assert process.returncode == 0, output
            seen.count(Path(folder))
        sys.stdout.write(f"{seen.done} transactions, held for {seen.held:.3f} s\n")

    @contextlib.asynccontextmanager
    async def without_receiver(self) -> AsyncIterator[None]:
        """Have the second host receive nothing, and say nothing either, as if it had vanished."""
        paths = Layout(self.host(2).data_dir).node(UUID(self.cluster["id"]), self.nodes[2].name)
        servers = [process.pid for process in processes.below(paths.data, "postgres")]
        [receiver] = process_table.naming("walreceiver", servers)
        os.kill(receiver, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(receiver, signal.SIGCONT)

    async def rows(self, host: int = 2) -> int:
        return int(await self.ask("SELECT count(*) FROM pgbench_history", host=host))

    async def restarted(self, host: int) -> None:
        """Kill a host's agent, and wait until there is another one."""
        former = self.host(host).child("agent")
        assert former is not None
        os.kill(former, signal.SIGKILL)
        await wait_until_async(
            "another agent is there", 20, lambda: self.host(host).child("agent") not in (None, former)
        )

    def postgresql(self, host: int) -> bool:
        """Return whether the node's server runs on a host."""
        paths = Layout(self.host(host).data_dir).node(UUID(self.cluster["id"]), self.nodes[host].name)
        return processes.find(paths.server(Path())) is not None

    def leftovers(self, host: int) -> list[str]:
        folder = Layout(self.host(host).data_dir).cluster(UUID(self.cluster["id"]))
        return [str(path) for path in (folder.root, folder.sockets) if path.exists()]


def _pgbench() -> str:
    found = programs.find().postgres
    return str(found[max(found, key=int)].bin / "pgbench")


def move(hosts: Fleet, scenario: Callable[[Moving], Awaitable[None]]) -> None:
    """Run a scenario with a cluster that has a pool of each mode; logs are printed when it fails."""
    number = next(_numbers)
    try:
        with hosts.hosts[0].client() as client:
            cluster = online_cluster(client, f"moving-{number}")
            for mode, name in (("transaction", "pool"), ("session", "sessions")):
                body = {"name": name, "mode": mode, "size": 8, "db": "defaultdb", "user": "doadmin"}
                client.request("POST", f"/v2/databases/{cluster['id']}/pools", json=body)

        async def run() -> None:
            async with mover(hosts, cluster["id"]) as one:
                await scenario(Moving(hosts, cluster, one))

        asyncio.run(run())
    except BaseException:
        for host in hosts.hosts:
            sys.stderr.write(f"--- {host.name}\n{host.log()[-8000:]}\n")
            for path in sorted(host.data_dir.glob("clusters/*/*.log")):
                sys.stderr.write(f"--- {path}\n{path.read_text(errors='replace')[-3000:]}\n")
        raise


def test_no_query_through_a_pool_fails_and_nothing_is_lost(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        moving.show_former_certificate()
        async with moving.bench() as bench:
            await moving.begin()
            await moving.mover.copied()
            assert await moving.may_replicate(2)
            # Its own is of the same CA and names a host that is not the peer, as that of a former host.
            assert not await moving.may_replicate(1)
            assert certificates.common_name(moving.certificate(1)).endswith(".host.cenote")
            await moving.mover.switch()
            await moving.mover.led_on(CLIENTS)
        assert bench.held < 10
        await moving.mover.led_on()
        assert await moving.rows() == await moving.rows(host=1) == bench.done
        await moving.mover.finish()
        await moving.mover.settled("node-2")
        assert moving.leftovers(1) == []
        assert await moving.ask("SELECT nextval('numbers')", None, host=2) > 3
        assert await moving.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'reader'", None, host=2) == 1
        assert await moving.ask("SHOW ssl_ca_file", None, host=2) == ""
        await moving.ask("CREATE TABLE after_the_move (id int)", "sessions", host=2)
        assert await moving.ask("SELECT count(*) FROM pg_replication_slots", None, host=2) == 0

    move(hosts, scenario)


def test_a_switch_that_is_given_up_goes_on_where_it_was_and_a_later_one_succeeds(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        async with moving.bench() as bench:
            await moving.begin()
            await moving.mover.copied()
            await moving.mover.stage(MoveStage.SWITCHING)
            await moving.mover.ended()
            assert not moving.postgresql(1)
            await moving.mover.stage(MoveStage.COPYING)
            await moving.mover.copied()
            await asyncio.sleep(1)
            await moving.mover.switch()
        assert await moving.rows() == bench.done
        await moving.mover.led_on()
        await moving.mover.finish()

    move(hosts, scenario)


def test_a_move_that_is_given_up_leaves_nothing_behind(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        async with moving.bench():
            await moving.begin()
            await moving.mover.copied()
            await moving.mover.give_up()
        assert moving.leftovers(2) == []
        await moving.mover.settled("node-1")
        assert not await moving.ask("SELECT count(*) FROM pg_replication_slots", None)
        assert await moving.ask("SHOW ssl_ca_file", None) == ""
        await moving.begin()  # once more, with the same name of the node
        await moving.mover.copied()
        assert not moving.mover.report("node-2").removed
        await moving.mover.give_up()
        assert moving.leftovers(2) == []

    move(hosts, scenario)


def test_a_cluster_may_become_larger_and_smaller_while_it_is_copied(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        def most(host: int) -> Awaitable[Any]:
            return moving.ask("SHOW max_worker_processes", None, host=host)

        async def resized(worker_processes: int) -> None:
            configuration = moving.mover.cluster.configuration
            chosen = configuration.postgresql | {"max_worker_processes": worker_processes}
            await moving.mover.change(configuration=replace(configuration, postgresql=chosen))

        await moving.prepare()
        await resized(40)
        await moving.mover.settled("node-1")
        await moving.begin()
        await resized(20)
        await moving.mover.copied()
        assert await most(1) == "20"
        for number in (30, 24):
            async with moving.bench():
                await resized(number)
                await moving.mover.copied()
                assert await most(1) == str(number)
                assert int(await most(2)) >= number
        async with moving.bench() as bench:
            await moving.mover.copied()
            await moving.mover.switch()
        await moving.mover.led_on()
        assert await moving.rows() == await moving.rows(host=1) > bench.done
        assert await most(2) == "24"
        await moving.mover.finish()

    move(hosts, scenario)


def test_a_source_whose_follower_has_vanished_ends_in_order_and_goes_on(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        await moving.begin()
        await moving.mover.copied()

        def ended() -> int:
            return moving.mover.report("node-1").ended_at

        # At full speed the follower may be too far behind before the source has written a checkpoint.
        async with moving.bench("--rate=10") as bench:
            async with moving.without_receiver():
                began = time.monotonic()
                await moving.mover.stage(MoveStage.SWITCHING)
                await wait_until_async("the source has ended", 40, ended)
                sys.stdout.write(f"ended after {time.monotonic() - began:.1f} s\n")
                standby = moving.mover.report("node-2").standby
                assert standby is not None
                assert standby.replayed < ended()
                await moving.mover.stage(MoveStage.COPYING)
                await moving.mover.settled("node-1")
            await moving.mover.copied()
            await moving.mover.switch()
        await moving.mover.led_on()
        assert await moving.rows() == await moving.rows(host=1) == bench.done
        await moving.mover.finish()

    move(hosts, scenario)


def test_changes_that_are_gone_before_the_copy_had_them_are_reported(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.begin()
        await moving.mover.copied()
        sockets = Layout(moving.host(1).data_dir).cluster(UUID(moving.cluster["id"])).sockets
        superuser = f"host={sockets} port={moving.nodes[1].port} user=postgres dbname=postgres"
        async with (
            moving.without_receiver(),
            await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection,
        ):
            await connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
            await connection.execute("SELECT pg_reload_conf()")
            for _ in range(6):
                await connection.execute("SELECT pg_logical_emit_message(false, '', 'x'), pg_switch_wal()")

            async def is_free() -> bool:
                cursor = await connection.execute("SELECT NOT bool_or(active) FROM pg_replication_slots")
                row = await cursor.fetchone()
                return row is not None and bool(row[0])

            # One that is told to end sooner says so to the other host first, and waits for that to take it.
            await wait_until_async("its sender has given up", 40, is_free)
            await connection.execute("CHECKPOINT")
            await wait_until_async("it is reported", 60, lambda: moving.mover.report("node-1").slot_lost)
        await moving.mover.give_up()
        await moving.mover.settled("node-1")
        await wait_until_async("it is over", 60, lambda: not moving.mover.report("node-1").slot_lost)
        assert await moving.ask("SELECT count(*) FROM pg_replication_slots", None) == 0

    move(hosts, scenario)


def test_a_long_transaction_in_a_pool_puts_the_switch_off_and_is_not_cut(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        await moving.begin()
        await moving.mover.copied()
        async with await psycopg.AsyncConnection.connect(moving.conninfo()) as connection:
            await connection.execute("INSERT INTO pgbench_history (tid) VALUES (1)")
            await asyncio.sleep(0.5)
            await moving.mover.stage(MoveStage.SWITCHING)

            def busy() -> bool:
                return "busy" in moving.mover.report(moving.mover.move.source).reason

            await wait_until_async("the source says so", 10, busy)
            assert await moving.ask("SELECT 42") == 42  # others are not held
            await connection.commit()
        await moving.mover.ended()
        await moving.mover.stage(MoveStage.LEAVING)
        await moving.mover.leads()
        assert await moving.rows() == 1

    move(hosts, scenario)


def test_clients_of_session_pools_get_one_clean_end(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        await moving.begin()
        await moving.mover.copied()
        async with await psycopg.AsyncConnection.connect(
            moving.conninfo("sessions"), autocommit=True
        ) as connection:
            await connection.execute("SELECT 1")
            await moving.mover.switch()
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT 1")
        assert await moving.ask("SELECT 42", "sessions") == 42  # by the way over the old host
        assert not await moving.ask("SELECT pg_is_in_recovery()", "sessions")

    move(hosts, scenario)


def test_logical_slots_are_reported_and_trusted_sources_need_not_name_the_hosts(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.ask("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')", None)
        rule = FirewallRule(
            id=uuid4(), type=SourceType.IP_ADDR, value="192.0.2.1", created_at=datetime.now(UTC)
        )
        await moving.mover.change(firewall=(rule,))
        await moving.begin()
        await moving.mover.copied()
        source = moving.mover.move.source
        assert moving.mover.report(source).logical_slots == ("theirs",)
        await asyncio.sleep(1)
        standby = moving.mover.report(moving.mover.move.target).standby
        assert standby is not None
        assert standby.streaming
        await moving.mover.give_up()
        await moving.mover.change(firewall=())
        await moving.mover.settled(source)
        assert await moving.ask("SELECT count(*) FROM pg_replication_slots", None) == 1

    move(hosts, scenario)


def test_a_copy_that_is_killed_is_made_anew(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        await moving.begin()
        paths = Layout(moving.host(2).data_dir).node(UUID(moving.cluster["id"]), "node-2")

        def copying() -> list[Process]:
            return processes.below(paths.draft, "pg_basebackup")

        for process in await wait_until_async("it is copied", 30, copying):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await moving.mover.copied()
        assert not copying()
        assert not paths.draft.exists()
        await moving.mover.give_up()

    move(hosts, scenario)


@pytest.mark.parametrize("host", [1, 2])
def test_an_agent_may_be_killed_in_each_stage(hosts: Fleet, host: int) -> None:
    async def scenario(moving: Moving) -> None:
        await moving.prepare()
        await moving.begin()
        await moving.restarted(host)
        await moving.mover.copied()
        await moving.restarted(host)
        async with moving.bench() as bench:
            await moving.mover.copied()
            await moving.mover.stage(MoveStage.SWITCHING)
            await moving.restarted(host)
            await moving.mover.ended(60)
            await moving.restarted(host)
            await moving.mover.stage(MoveStage.LEAVING)
            await moving.restarted(host)
            await moving.mover.leads()
            await moving.mover.led_on(CLIENTS)
        assert await moving.rows() == bench.done
        await moving.mover.led_on()
        await moving.mover.finish()
        assert moving.leftovers(1) == []

    move(hosts, scenario)


def test_a_record_that_is_older_than_the_switch_starts_no_second_writer(hosts: Fleet) -> None:
    async def scenario(moving: Moving) -> None:
        def health() -> Any:
            with moving.host(1).client() as client:
                return client.databases.get_cluster(moving.cluster["id"])["database"]["cenote"]

        async def says(node: str, words: str) -> None:
            await wait_until_async(f"{node}: {words}", 40, lambda: words in moving.mover.report(node).reason)

        async def insert() -> None:
            await moving.ask("INSERT INTO pgbench_history (tid) VALUES (1)", None, host=2)

        await moving.prepare()
        await moving.begin()
        await moving.mover.copied()
        former = moving.mover.cluster
        await moving.mover.switch()
        await moving.mover.led_on()
        await insert()
        paths = Layout(moving.host(1).data_dir).node(UUID(moving.cluster["id"]), "node-1")
        assert paths.given_up.read_text().startswith("given up to node-2 on host host-2 at ")
        later = moving.mover.cluster

        # As of a moment of the copy, as of one before the move, and as of one when it was given up.
        source, target = former.nodes
        records = (
            former,
            replace(former, nodes=(source,), move=None),
            replace(former, nodes=(source,), move=None, left=(target,)),
        )
        for record in records:
            await moving.mover.recover(record)
            await says("node-1", "given up to node-2 on host host-2 at ")
            await moving.restarted(1)
            await moving.restarted(2)
            await asyncio.sleep(2)
            await says("node-1", str(paths.given_up))
            assert not moving.postgresql(1)
            await insert()
            await wait_until_async("the cluster is down", 40, lambda: health()["health"] == "down")
            assert "look for the data there" in health()["reason"]
            assert not moving.postgresql(1)
            await moving.mover.recover(later)
            await moving.mover.leads()
            await moving.mover.led_on()
        assert await moving.rows() == await moving.rows(host=1) == 1 + len(records)
        await moving.mover.finish()
        assert moving.leftovers(1) == []

    move(hosts, scenario)
