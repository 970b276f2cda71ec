"""Settings that need a restart and that this service has changed: nobody is disconnected or told to wait."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import re
import signal
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from cenote.engine.plan.postgresql import configuration_file
from cenote.host import files, processes, stopping
from cenote.host.processes import Account
from cenote.model.changes import Program, Reload, Restart
from cenote.model.paths import Layout
from cenote.model.records import Cluster, Configuration, Pool
from cenote.model.topology import writer_or_first
from cenote_client import Client
from tests.support import records
from tests.support.lab import Lab, Share
from tests.support.service import Service, added_pool, answer_of, online, online_cluster
from tests.support.waiting import wait_until_async

NAME = "backend"
FORMER = {
    "archive_mode": "off",
    "cluster_name": NAME,
    "max_connections": "25",
    "max_replication_slots": "8",
    "max_wal_senders": "20",
}
PENDING = "SELECT name FROM pg_settings WHERE pending_restart"
IN_FORCE = f"SELECT name, setting FROM pg_settings WHERE name IN {tuple(FORMER)!r}"


def write_former(conf: Path) -> None:
    """Write the settings of an earlier version into a file of this one."""
    text = re.sub(r"^(archive_command|wal_log_hints) = .*\n", "", conf.read_text(), flags=re.MULTILINE)
    for name, value in FORMER.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = '{value}'", text, flags=re.MULTILINE)
    conf.write_text(text)


async def restart_with_former(server: Program) -> None:
    """Have a server run as an earlier version left it."""
    await stopping.stop_program(server)
    write_former(server.directory / "postgresql.conf")
    entry = pwd.getpwuid(server.directory.stat().st_uid)
    ids = (entry.pw_uid, entry.pw_gid) if os.geteuid() == 0 else (None, None)
    assert processes.start(server, Account(entry.pw_name, *ids)) is not None
    await wait_until_async("it is ready", 30, lambda: is_ready(server))


async def is_ready(server: Program) -> bool:
    return b"ready" in (files.read(server.pid_file) or b"") and processes.find(server) is not None


def pool_uri(cluster: Cluster, pool: str) -> str:
    port = writer_or_first(cluster).pool_port
    return f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{port}/{pool}?sslmode=require"


def test_a_server_of_an_earlier_version_keeps_running_until_it_restarts_for_something_else(
    labs: Share,
) -> None:
    async def scenario(place: Lab) -> None:
        pool = Pool(name="pool", database="defaultdb", size=2, user="doadmin")
        cluster = replace(place.new_cluster(), name=NAME, pools=(pool,))
        await place.converge(cluster)
        wanted = place.wanted(cluster)
        await restart_with_former(wanted.server)
        before = processes.find(wanted.server)

        done = await place.converge(cluster)
        assert [change for change in done if isinstance(change, Reload)]
        assert not [change for change in done if isinstance(change, Restart)]
        with psycopg.connect(pool_uri(cluster, "pool"), autocommit=True) as client, client.transaction():
            backend = client.execute("SELECT pg_backend_pid()").fetchone()
            assert await place.plan(cluster) == []
            assert processes.find(wanted.server) == before
            assert dict(await place.rows(cluster, IN_FORCE)) == FORMER
            assert await place.rows(cluster, PENDING) == []
            assert "archive_mode = 'off'" in configuration_file(wanted).read_text()
            assert client.execute("SELECT pg_backend_pid()").fetchone() == backend

        other = Configuration(postgresql={"track_activity_query_size": 2048})
        changed = replace(cluster, configuration=other)
        await place.converge(changed)
        assert processes.find(wanted.server) != before
        assert dict(await place.rows(cluster, IN_FORCE)) == {
            "archive_mode": "always",
            "cluster_name": str(cluster.id),
            "max_connections": "69",
            "max_replication_slots": "32",
            "max_wal_senders": "40",
        }
        assert await place.rows(cluster, PENDING) == []
        assert await place.plan(changed) == []

    labs(scenario)


def test_a_crash_brings_the_new_settings(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = replace(place.new_cluster(), name=NAME)
        await place.converge(cluster)
        server = place.wanted(cluster).server
        await restart_with_former(server)
        await place.converge(cluster)
        await stopping.stop_program(dataclasses.replace(server, stop_signal=signal.SIGQUIT))
        await place.converge(cluster)
        assert dict(await place.rows(cluster, IN_FORCE))["archive_mode"] == "always"
        archived = "SELECT failed_count FROM pg_stat_archiver"
        await place.run(cluster, "SELECT pg_switch_wal()")
        assert await place.rows(cluster, archived) == [(0,)]

    labs(scenario)


@pytest.mark.long
def test_an_upgraded_service_restarts_no_server_and_nothing_waits(running: Service, client: Client) -> None:
    id = online_cluster(client, NAME)["id"]
    uri = added_pool(client, id, "pool")["connection"]["uri"]
    running.end(signal.SIGTERM)
    layout = Layout(running.data_dir)
    [paths] = layout.nodes()
    binaries = Path(f"/proc/{running.servers()['PostgreSQL']}/exe").resolve().parent
    asyncio.run(restart_with_former(paths.server(binaries)))
    pid = running.servers()["PostgreSQL"]
    with psycopg.connect(uri, autocommit=True, connect_timeout=30) as connection, connection.transaction():
        backend = connection.execute("SELECT pg_backend_pid()").fetchone()
        running.start()
        with running.client() as again:
            added_pool(again, id, "later")
            shown = online(again, id)
            assert "not_in_force" not in shown["cenote"]
            assert not shown["maintenance_window"]["pending"]
            assert running.servers()["PostgreSQL"] == pid
            assert connection.execute("SELECT pg_backend_pid()").fetchone() == backend
    with running.client() as again:
        again.request(
            "PATCH", f"/v2/databases/{id}/config", json={"config": {"max_prepared_transactions": 3}}
        )
        cluster = online(again, id)
        assert "not_in_force" not in cluster["cenote"]
        assert running.servers()["PostgreSQL"] != pid
        assert answer_of(cluster["connection"]["uri"], "SHOW archive_mode") == "always"
