"""The trace of a node stays the same while nothing happens in it, and changes with what a pass would find."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest

from cenote.agent.quiet import Quiet
from cenote.host import processes, trace
from cenote.host.trace import Trace
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from tests.support.agent import running
from tests.support.lab import Lab, Share
from tests.support.waiting import wait_until_async

SETTLE_SECONDS = 60


async def quiet_cluster(lab: Lab) -> tuple[Cluster, Quiet, Trace]:
    """Return a cluster, and its trace once two passes in a row have found nothing to do."""
    cluster, quiet = lab.new_cluster(), Quiet(3600)
    await lab.converge(cluster)
    return cluster, quiet, await settled(lab, cluster, quiet)


async def settled(lab: Lab, cluster: Cluster, quiet: Quiet) -> Trace:
    """Wait until a pass leaves no trace; a new server still writes for a while."""
    found: list[Trace] = []

    async def is_settled() -> bool:
        before = quiet.read(lab.wanted(cluster))
        assert await lab.plan(cluster) == []
        await asyncio.sleep(0.3)
        after = quiet.read(lab.wanted(cluster))
        found[:] = [] if before is None or after is None else [after]
        return before is not None and before.is_of_same_state(after)

    await wait_until_async("the node is quiet", SETTLE_SECONDS, is_settled)
    return found[0]


def test_a_pass_that_finds_nothing_leaves_no_trace(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster, quiet, _ = await quiet_cluster(lab)

        async def lasts() -> bool:
            quiet.begin(quiet.read(lab.wanted(cluster)))
            assert await lab.plan(cluster) == []
            return quiet.lasts(lab.wanted(cluster))

        await wait_until_async("a pass leaves no trace", SETTLE_SECONDS, lasts)
        quiet.end()
        assert not quiet.lasts(lab.wanted(cluster))

    labs(scenario)


def test_a_node_is_looked_at_now_and_then_whatever_its_trace_says(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster, _, _ = await quiet_cluster(lab)
        quiet = Quiet(0)
        quiet.begin(quiet.read(lab.wanted(cluster)))
        assert not quiet.lasts(lab.wanted(cluster))

    labs(scenario)


async def make_a_table(lab: Lab, cluster: Cluster) -> None:
    await lab.run(cluster, "CREATE TABLE public.made (id int)")


async def make_a_role(lab: Lab, cluster: Cluster) -> None:
    await lab.run(cluster, "CREATE ROLE made")


async def set_a_password(lab: Lab, cluster: Cluster) -> None:
    await lab.run(cluster, "ALTER ROLE doadmin NOLOGIN")


async def change_a_setting(lab: Lab, cluster: Cluster) -> None:
    auto = lab.wanted(cluster).paths.data / "postgresql.auto.conf"
    auto.write_text(auto.read_text() + "work_mem = '5MB'\n")


async def change_the_access_rules(lab: Lab, cluster: Cluster) -> None:
    rules = lab.wanted(cluster).paths.data / "pg_hba.conf"
    rules.write_text(rules.read_text() + "# by hand\n")


async def remove_the_pools(lab: Lab, cluster: Cluster) -> None:
    (lab.wanted(cluster).cluster_paths.pooler / "pgbouncer.ini").unlink()


async def replace_the_certificate(lab: Lab, cluster: Cluster) -> None:
    lab.wanted(cluster).cluster_paths.certificate.write_bytes(b"")


async def open_a_folder(lab: Lab, cluster: Cluster) -> None:
    lab.wanted(cluster).cluster_paths.pooler.chmod(0o755)


async def fill_the_log(lab: Lab, cluster: Cluster) -> None:
    with lab.wanted(cluster).server.log.open("ab") as log:
        log.write(b"x" * trace.LOG_STEP)


async def stop_the_server(lab: Lab, cluster: Cluster) -> None:
    os.kill(running(lab.wanted(cluster).server).pid, signal.SIGSTOP)


async def stop_the_pooler(lab: Lab, cluster: Cluster) -> None:
    os.kill(running(lab.wanted(cluster).bouncer).pid, signal.SIGSTOP)


async def kill_the_pooler(lab: Lab, cluster: Cluster) -> None:
    process = running(lab.wanted(cluster).bouncer)
    os.kill(process.pid, signal.SIGKILL)
    assert await processes.ended(process, 60)


@pytest.mark.parametrize(
    "happening",
    [
        make_a_table,
        make_a_role,
        set_a_password,
        change_a_setting,
        change_the_access_rules,
        remove_the_pools,
        replace_the_certificate,
        open_a_folder,
        fill_the_log,
        stop_the_server,
        stop_the_pooler,
        kill_the_pooler,
    ],
    ids=lambda happening: happening.__name__,
)
def test_what_happens_leaves_a_trace(
    labs: Share, happening: Callable[[Lab, Cluster], Awaitable[None]]
) -> None:
    async def scenario(lab: Lab) -> None:
        cluster, quiet, before = await quiet_cluster(lab)
        pids = [running(program).pid for program in lab.wanted(cluster).programs]
        try:
            await happening(lab, cluster)

            def is_seen() -> bool:
                return not before.is_of_same_state(quiet.read(lab.wanted(cluster)))

            await wait_until_async("it leaves a trace", SETTLE_SECONDS, is_seen)
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    labs(scenario)


def test_a_session_leaves_a_trace_while_it_works_and_none_while_it_is_idle(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster, quiet, before = await quiet_cluster(lab)
        sockets, port = lab.session(cluster).sockets, writer_or_first(cluster).port
        async with await psycopg.AsyncConnection.connect(
            host=str(sockets), port=port, dbname="postgres", user="postgres", autocommit=True
        ) as session:
            await session.execute("SELECT count(*) FROM pg_class")
            idle = await settled(lab, cluster, quiet)
            assert idle.backends
            assert not before.is_of_same_state(idle)
            # Temporary files are written to no WAL.
            await session.execute("SELECT count(*) FROM generate_series(1, 3000000) AS n GROUP BY n % 7")
            assert not idle.is_of_same_state(quiet.read(lab.wanted(cluster)))

    labs(scenario)


def test_a_role_that_is_named_like_a_process_of_the_server_leaves_a_trace(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster, quiet, _ = await quiet_cluster(lab)
        await lab.run(cluster, 'CREATE ROLE "checkpointer" LOGIN SUPERUSER')
        await lab.run(cluster, "ALTER ROLE \"checkpointer\" PASSWORD 'secret'")
        sockets, port = lab.session(cluster).sockets, writer_or_first(cluster).port
        data = lab.wanted(cluster).paths.data
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text("local all checkpointer scram-sha-256\n" + rules)
        await lab.run(cluster, "SELECT pg_reload_conf()")

        async def session() -> psycopg.AsyncConnection[tuple[object, ...]] | None:
            try:
                return await psycopg.AsyncConnection.connect(
                    host=str(sockets), port=port, dbname="postgres", user="checkpointer", password="secret"
                )
            except psycopg.OperationalError:
                return None

        found = await wait_until_async("the role may log in", SETTLE_SECONDS, session)
        assert found is not None
        async with found:
            seen = quiet.read(lab.wanted(cluster))
            assert seen is not None
            assert [pid for pid, _ in seen.backends] == [found.info.backend_pid]

    labs(scenario)


def test_a_clock_that_was_set_is_a_trace(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        _, _, before = await quiet_cluster(lab)
        ahead = replace(before, clock=before.clock + 3600)
        assert not before.is_of_same_state(ahead)
        assert before.is_of_same_state(replace(before, clock=before.clock + 0.5))

    labs(scenario)
