"""Whatever happens to a server behind the agent's back, the cluster is as wanted again by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from dataclasses import replace

import msgspec
import psycopg
import pytest

from cenote.host import processes
from cenote.model.records import Cluster, LogSource
from cenote.model.topology import writer_or_first
from tests.support import records
from tests.support.agent import Agents, AtWork, answers, ask, running
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.timing(resync_interval=0.3, backoff_max=0.5)


async def load(cluster: Cluster, ended: asyncio.Event) -> int:
    """Be four clients of the pool that come again when they are thrown out; return how much was answered."""

    async def client() -> int:
        answered = 0
        while not ended.is_set():
            try:
                answered += bool(await ask(cluster, "SELECT sum(i) FROM generate_series(1, 1000) AS i"))
            except psycopg.Error:
                await asyncio.sleep(0.01)
        return answered

    return sum(await asyncio.gather(*(client() for _ in range(4))))


@pytest.mark.parametrize("name", ["PostgreSQL", "PgBouncer"])
def test_a_server_that_is_killed_under_load_is_back_by_itself(agents: Agents, name: str) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        program = at.server(cluster) if name == "PostgreSQL" else at.bouncer(cluster)
        ended = asyncio.Event()
        clients = asyncio.create_task(load(cluster, ended))
        try:
            for _ in range(3):
                await wait_until_async("the pool answers", 30, lambda: answers(cluster))
                killed = running(program)
                os.kill(killed.pid, signal.SIGKILL)
                await at.other_than(killed, program)
            await wait_until_async("the pool answers", 30, lambda: answers(cluster))
        finally:
            ended.set()
            answered = await clients
        assert answered > 0
        await at.settled(cluster)

    agents.run(scenario)


def test_both_servers_killed_at_once_are_back_with_what_was_committed(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        await ask(cluster, "CREATE TABLE kept AS SELECT 42 AS value")
        killed = [(running(program), program) for program in (at.server(cluster), at.bouncer(cluster))]
        for process, _ in killed:
            os.kill(process.pid, signal.SIGKILL)
        for process, program in killed:
            await at.other_than(process, program)
        await wait_until_async("the pool answers", 30, lambda: answers(cluster))
        assert await ask(cluster, "SELECT value FROM kept") == 42

    agents.run(scenario)


def test_a_busy_orphan_does_not_keep_a_killed_server_down(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        # A backend looks at its server only when it waits for something, and this one never does.
        query = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
        busy = asyncio.create_task(ask(cluster, query, pool=None))
        found = "SELECT pid FROM pg_stat_activity WHERE usename = 'doadmin' AND state = 'active'"
        [(orphan,)] = await wait_until_async("the backend works", 30, lambda: at.lab.rows(cluster, found))
        killed = running(at.server(cluster))
        os.kill(killed.pid, signal.SIGKILL)
        await at.other_than(killed, at.server(cluster))
        await wait_until_async("the pool answers", 30, lambda: answers(cluster))
        assert processes.identify(orphan) is None
        with pytest.raises(psycopg.OperationalError):
            await busy

    agents.run(scenario)


def strangers_pid(at: AtWork) -> subprocess.Popen[bytes]:
    """A living process of the servers' own account, which PostgreSQL takes for a double of itself."""
    account = at.lab.account
    return subprocess.Popen(
        ["sleep", "600"], user=account.uid, group=account.gid, cwd="/", start_new_session=True
    )


@pytest.mark.parametrize("name", ["PostgreSQL", "PgBouncer"])
def test_a_pid_that_went_to_somebody_else_does_not_keep_a_server_down(agents: Agents, name: str) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        program = at.server(cluster) if name == "PostgreSQL" else at.bouncer(cluster)
        stranger = strangers_pid(at)
        try:
            killed = running(program)
            locks = [program.pid_file]
            if name == "PostgreSQL":
                locks += at.lab.wanted(cluster).cluster_paths.sockets.glob(".s.PGSQL.*.lock")
                assert len(locks) == 2
            # As after a reboot: the files are the old ones, and the pid has been given out again.
            os.kill(killed.pid, signal.SIGSTOP)
            for lock in locks:
                rest = lock.read_bytes().partition(b"\n")[2]
                lock.write_bytes(b"%d\n" % stranger.pid + rest)
            os.kill(killed.pid, signal.SIGKILL)
            back = await at.other_than(killed, program)
            assert back.pid != stranger.pid
            await wait_until_async("the pool answers", 30, lambda: answers(cluster))
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    agents.run(scenario)


@pytest.mark.parametrize("which", ["port", "pool_port"])
def test_a_port_that_a_stranger_has_is_named_and_taken_once_it_is_free(agents: Agents, which: str) -> None:
    async def scenario(at: AtWork) -> None:
        plain = records.cluster(at.lab.sealer, port=free_range(2), version=at.lab.version)
        port = getattr(writer_or_first(plain), which)
        with socket.create_server(("127.0.0.1", port)):
            await at.store.add_cluster(plain)
            status = await at.reason(plain, f"another program listens on port {port}")
            assert status.reached == 0
        await at.settled(plain)
        assert await answers(plain, pool=None)

    agents.run(scenario)


def test_a_pooler_that_started_without_its_port_gets_it_once_it_is_free(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        bouncer = at.bouncer(cluster)
        # PgBouncer goes on without a port that it cannot have; that of this one is left out by its settings.
        settings = bouncer.directory / "pgbouncer.ini"
        deaf = settings.with_name("deaf.ini")
        deaf.write_text(settings.read_text().replace("listen_addr = 127.0.0.1", "listen_addr ="))
        deaf.chmod(0o644)
        killed = running(bouncer)
        os.kill(killed.pid, signal.SIGSTOP)
        bouncer.pid_file.unlink()
        os.kill(killed.pid, signal.SIGKILL)
        started = processes.start(replace(bouncer, argv=(bouncer.argv[0], str(deaf))), at.lab.account)
        assert started is not None
        await at.other_than(started, bouncer)
        await wait_until_async("the pool answers", 30, lambda: answers(cluster))

    agents.run(scenario)


def test_files_that_somebody_edits_are_put_right(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        root = at.lab.wanted(cluster).cluster_paths.root
        edited = [root / "pg" / name for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")]
        edited += [root / "pgbouncer" / name for name in ("pgbouncer.ini", "userlist.txt", "hba.conf")]
        before = [path.read_bytes() for path in edited]
        for path in edited:
            path.write_bytes(b"# nothing is left\n")
        await wait_until_async(
            "the files are as they were", 30, lambda: [path.read_bytes() for path in edited] == before
        )
        await at.settled(cluster)
        assert await answers(cluster)

    agents.run(scenario)


def test_a_door_that_somebody_has_opened_is_shut_again(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        edited = at.lab.wanted(cluster).paths.data / "pg_hba.conf"
        rules = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'"
        edited.write_text("local all all trust\nhost all all all trust\n")
        await at.lab.rows(cluster, "SELECT pg_reload_conf()")
        await wait_until_async("nobody gets in without a password", 30, lambda: is_shut(cluster))
        assert await at.lab.rows(cluster, rules) == [(0,)]

    async def is_shut(cluster: Cluster) -> bool:
        return not await answers(cluster, pool=None, password="wrong")

    agents.run(scenario)


def test_a_log_that_is_no_file_any_more_holds_up_nothing(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        log = at.lab.wanted(cluster).paths.log(LogSource.PGBOUNCER)
        log.unlink()
        log.symlink_to("/etc/passwd")
        another = msgspec.structs.replace(cluster.pools[0], name="another")
        cluster = await at.settled(await at.change(cluster, pools=(*cluster.pools, another)))
        assert await answers(cluster, pool="another")

    agents.run(scenario)


def test_a_restarted_agent_takes_over_what_runs(agents: Agents) -> None:
    async def scenario(at: AtWork) -> None:
        cluster = await at.cluster()
        before = [running(at.server(cluster)), running(at.bouncer(cluster))]
        assert await at.lab.converge(cluster) == []
        assert [running(at.server(cluster)), running(at.bouncer(cluster))] == before

    agents.run(scenario)
