"""SQL of ours on a real server: in one transaction, with nothing of it in the server's log or our errors."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Literal

from cenote.agent import drops
from cenote.errors import CenoteError
from cenote.host import processes, sql
from cenote.host.sql import Session
from cenote.model.changes import Reload, Sql
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from tests.support.lab import Lab, Share
from tests.support.plain_postgres import plain_postgres

SECRET = "SCRAM-SHA-256$4096:c2FsdA==$secret"


async def made(lab: Lab) -> Cluster:
    cluster = lab.new_cluster()
    await lab.converge(cluster)
    return cluster


async def run(lab: Lab, cluster: Cluster, change: Sql) -> None:
    session = lab.session(cluster)
    try:
        await lab.executor.do(change, session)
    finally:
        await session.close()


def test_statements_are_done_all_together_or_not_at_all(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        half = Sql("postgres", "two things", (SQL("CREATE TABLE public.half ()"), SQL("SELECT 1 / 0")))
        with pytest.raises(CenoteError, match="two things failed: division by zero"):
            await run(lab, cluster, half)
        assert await lab.rows(cluster, "SELECT 1 FROM pg_tables WHERE tablename = 'half'") == []

    labs(scenario)


def test_a_statement_that_fails_is_shown_neither_to_us_nor_to_the_servers_log(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        statement = SQL("ALTER ROLE missing PASSWORD {}").format(Literal(SECRET))
        with pytest.raises(CenoteError) as raised:
            await run(lab, cluster, Sql("postgres", "changing a password", (statement,)))
        assert str(raised.value) == 'changing a password failed: role "missing" does not exist'
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
        log = lab.wanted(cluster).server.log.read_text()
        assert 'role "missing" does not exist' in log
        assert SECRET not in log

    labs(scenario)


def test_a_customers_log_settings_do_not_show_what_we_do(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        await run(
            lab,
            cluster,
            Sql("postgres", "logging all", (SQL("ALTER DATABASE postgres SET log_statement = 'all'"),)),
        )
        statement = SQL("ALTER ROLE doadmin PASSWORD {}").format(Literal(SECRET))
        await run(lab, cluster, Sql("postgres", "changing a password", (statement,)))
        assert SECRET not in lab.wanted(cluster).server.log.read_text()

    labs(scenario)


def test_an_autovacuum_in_the_way_is_cancelled_before_we_give_up(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        await lab.run(cluster, "ALTER DATABASE defaultdb SET deadlock_timeout = '1h'")
        query = (
            "SELECT name, setting::int FROM pg_settings WHERE name IN ('deadlock_timeout', 'lock_timeout')"
        )
        for milliseconds in (sql.LOCK_MILLISECONDS, drops.LOCK_MILLISECONDS):
            plain = lab.session(cluster)
            session = sql.Session(plain.sockets, plain.port, plain.pool_port, lock_milliseconds=milliseconds)
            try:
                found = dict(await session.rows("defaultdb", query))
            finally:
                await session.close()
            assert 0 < found["deadlock_timeout"] < found["lock_timeout"] == milliseconds

    labs(scenario)


def test_a_server_that_does_not_answer_is_an_error_in_words(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        with pytest.raises(CenoteError, match="connecting to PostgreSQL failed"):
            await lab.rows(cluster, "SELECT 1")
        with pytest.raises(CenoteError, match="RELOAD on PgBouncer failed"):
            (await sql.console(lab.session(cluster).sockets, writer_or_first(cluster).pool_port, "RELOAD"))[0]

    labs(scenario)


def test_a_reload_is_over_when_new_connections_have_the_new_settings(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        settings = lab.wanted(cluster).paths.data / "postgresql.conf"
        plain = settings.read_text()
        for number in range(5):
            settings.write_text(f"{plain}work_mem = '{number + 1}MB'\n")
            session = lab.session(cluster)
            await lab.executor.do(Reload(lab.wanted(cluster).server, "digest"), session)
            assert await session.rows("postgres", "SHOW work_mem") == [(f"{number + 1}MB",)]
            await session.close()

    labs(scenario)


def test_a_pgbouncer_that_does_not_answer_is_told_and_not_asked_again(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        pooler = processes.find(lab.wanted(cluster).bouncer)
        assert pooler is not None
        fresh, used = lab.session(cluster), lab.session(cluster)
        assert await used.console("SHOW VERSION")
        os.kill(pooler.pid, signal.SIGSTOP)
        try:
            for session in (fresh, used, used):
                with pytest.raises(CenoteError, match=r"^PgBouncer does not answer$"):
                    await session.console("RELOAD")
        finally:
            os.kill(pooler.pid, signal.SIGCONT)
        for session in (fresh, used):
            await session.close()
            assert await session.console("SHOW VERSION")
            await session.close()

    labs(scenario)


@pytest.mark.parametrize("asked", ["server", "console"])
def test_whoever_answers_on_a_socket_is_told_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """The sockets are in a folder of the servers' account, and we run as root."""
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:of-root-alone\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    said: asyncio.Queue[bytes] = asyncio.Queue()
    asks_for_a_password = b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        writer.write(asks_for_a_password)
        said.put_nowait(await reader.read(100))
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_unix_server(answer, tmp_path / ".s.PGSQL.25060"):
            session = Session(tmp_path, 25060, 25060)
            asking = session.rows("postgres", "SELECT 1") if asked == "server" else session.is_paused()
            with pytest.raises((CenoteError, psycopg.Error)):
                await asking
            assert await said.get() == b""

    asyncio.run(scenario())


def test_a_connection_that_was_lost_is_made_anew(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = await made(lab)
        session = lab.session(cluster)
        try:
            for database in ("postgres", "defaultdb"):
                [(pid,)] = await session.rows(database, "SELECT pg_backend_pid()")
                await lab.rows(cluster, f"SELECT pg_terminate_backend({pid}, 10000)")
                with pytest.raises(CenoteError, match="a query to PostgreSQL"):
                    await session.rows(database, "SELECT 1")
                assert await session.rows(database, "SELECT 1") == [(1,)]
        finally:
            await session.close()

    labs(scenario)


def test_a_server_leads_unless_it_is_a_standby() -> None:
    with plain_postgres() as server:
        assert asyncio.run(sql.leads(server.uri()))
        with server.as_standby():
            assert not asyncio.run(sql.leads(server.uri()))
            assert not asyncio.run(sql.leads(server.uri(), patience=0.1))
        assert not asyncio.run(sql.leads(server.uri()))
