"""The configuration on real servers: what is chosen is what they run on, and pools keep their clients."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from cenote.api.config import time_zones
from cenote.host import processes, sql
from cenote.host.inspector import settings_in_force
from cenote.model import parameters
from cenote.model.changes import Reload, Restart
from cenote.model.parameters import Choice, Choices, Number, Parameter, Switch, Text
from cenote.model.records import Cluster, Configuration, Pool, PoolMode, Value
from cenote.model.topology import writer_or_first
from cenote.rules import configuration
from cenote.rules.configuration import HostCapabilities
from tests.support import records
from tests.support.agent import running
from tests.support.lab import Lab, Share
from tests.support.load import load

ODD: dict[str, Value] = {"timezone": "Europe/Helsinki", "connect_query": "SET work_mem = '3MB'"}


def around(place: Lab) -> HostCapabilities:
    return HostCapabilities(place.host.memory_mib, place.host.libraries[place.version], time_zones())


async def seen(place: Lab, cluster: Cluster) -> dict[str, str]:
    session = place.session(cluster)
    try:
        return await settings_in_force(session)
    finally:
        await session.close()


async def console(place: Lab, cluster: Cluster, command: str) -> list[dict[str, Any]]:
    return (
        await sql.console(
            place.layout.cluster(cluster.id).sockets, writer_or_first(cluster).pool_port, command
        )
    )[0]


def uri(cluster: Cluster, database: str, *, user: str = "doadmin") -> str:
    port = writer_or_first(cluster).pool_port
    return f"postgres://{user}:{records.PASSWORD}@127.0.0.1:{port}/{database}?sslmode=require"


def direct(cluster: Cluster) -> str:
    return f"postgres://doadmin:{records.PASSWORD}@127.0.0.1:{writer_or_first(cluster).port}/defaultdb?sslmode=require"


def with_pools(cluster: Cluster) -> Cluster:
    pools = (
        Pool(name="transactions", database="defaultdb", size=4, user="doadmin"),
        Pool(name="sessions", database="defaultdb", size=4, user="doadmin", mode=PoolMode.SESSION),
    )
    return replace(cluster, pools=pools)


def changed(place: Lab, cluster: Cluster, **settings: Any) -> Cluster:
    return configuration.change(cluster, settings, {}, around(place))


def ends(parameter: Parameter) -> tuple[Value, Value]:
    """Return two values as far apart as the parameter lets them be."""
    match parameter:
        case Number(minimum=least, maximum=most):
            kind = float if parameter.fractions else int
            return kind(least), kind(most)
        case Switch():
            return False, True
        case Choice(choices=choices):
            return choices[0], choices[-1]
        case Choices(choices=choices):
            return (), choices
        case Text():
            return ODD[parameter.name], ODD[parameter.name]
        case _:
            raise AssertionError(parameter)


# Both at their largest together ask for more memory than this size has, which is refused.
TOO_MUCH_TOGETHER = {
    "max_locks_per_transaction": 640,
    "max_prepared_transactions": 80,
    "max_connections": 100,
}


@pytest.mark.parametrize("end", [0, 1], ids=["least", "most"])
def test_the_server_runs_on_both_ends_of_every_range(labs: Share, end: int) -> None:
    async def scenario(place: Lab) -> None:
        wanted = {
            name: ends(parameter)[end]
            for name, parameter in parameters.POSTGRESQL.items()
            if parameter.since <= int(place.version)
        }
        if end:
            wanted |= TOO_MUCH_TOGETHER
        cluster = changed(place, place.new_cluster(), **wanted)
        await place.converge(cluster)
        shown = configuration.effective_values(cluster, await seen(place, cluster))
        least = {"max_wal_senders": 40, "max_replication_slots": 32}  # of every server
        assert shown == {
            name: max(int(str(value)), least[name]) if name in least else value
            for name, value in wanted.items()
            if name != "shared_buffers_percentage"
        }
        [(memory,)] = await place.rows(cluster, "SELECT pg_size_bytes(current_setting('shared_buffers'))")
        share = float(str(wanted["shared_buffers_percentage"]))
        assert memory // 2**20 == int(configuration.memory_mib(cluster, place.host.memory_mib) * share / 100)

    labs(scenario)


def test_a_server_can_start_every_autovacuum_worker_that_it_is_asked_for(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = changed(place, place.new_cluster(), autovacuum_max_workers=20)
        await place.converge(cluster)
        asked = """
            SELECT name, setting::int FROM pg_settings
            WHERE name IN ('autovacuum_max_workers', 'autovacuum_worker_slots')"""
        found = dict(await place.rows(cluster, asked))
        assert found["autovacuum_max_workers"] == 20
        assert found.get("autovacuum_worker_slots", 20) >= 20  # since PostgreSQL 18

    labs(scenario)


@pytest.mark.parametrize("end", [0, 1], ids=["least", "most"])
def test_the_pooler_runs_on_both_ends_of_every_range(labs: Share, end: int) -> None:
    async def scenario(place: Lab) -> None:
        wanted = {name: ends(parameter)[end] for name, parameter in parameters.POOLER.items()}
        wanted["autodb_pool_size"] = (0, 7)[end]  # at most what the size has left for pools
        extensions = {name: ends(parameter)[end] for name, parameter in parameters.EXTENSIONS.items()}
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        cluster = changed(place, cluster, pgbouncer=wanted, cenote=extensions)
        done = await place.converge(cluster)
        assert [change.program.name for change in done if isinstance(change, Reload)] == ["PgBouncer"]
        found = {row["key"]: row["value"] for row in await console(place, cluster, "SHOW CONFIG")}
        own = parameters.POOLER["ignore_startup_parameters"].write(wanted.pop("ignore_startup_parameters"))
        more = parameters.EXTENSIONS["ignore_parameters"].write(extensions.pop("ignore_parameters"))
        ignored = sorted({*own.split(","), *more.split(",")} - {""})
        assert sorted(found["ignore_startup_parameters"].split(",")) == (ignored or [""])
        for name, value in (wanted | extensions).items():
            if name in found:
                table = parameters.POOLER | parameters.EXTENSIONS
                assert found[name] == table[name].write(value), name

    labs(scenario)


def test_what_is_shown_is_what_the_pooler_runs_on(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        shown = configuration.effective_settings(cluster, {})
        found = {row["key"]: row["value"] for row in await console(place, cluster, "SHOW CONFIG")}
        table = parameters.POOLER | parameters.EXTENSIONS
        same = {
            name: value for name, value in (shown["pgbouncer"] | shown["cenote"]).items() if name in found
        }
        assert len(same) > 8
        assert {name: table[name].write(value) for name, value in same.items()} == {
            name: found[name] for name in same
        }

    labs(scenario)


def test_what_is_shown_can_be_sent_back_and_changes_nothing(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = place.new_cluster()
        await place.converge(cluster)
        words = await seen(place, cluster)
        shown = configuration.effective_settings(cluster, words)
        in_force = configuration.effective_values(cluster, words)
        assert shown.keys() >= parameters.POSTGRESQL.keys() - {"shared_buffers_percentage"}
        same = configuration.change(cluster, shown, in_force, around(place))
        assert same.configuration.pgbouncer == same.configuration.cenote == {}
        assert await place.plan(same) == []

    labs(scenario)


def test_a_setting_that_needs_no_restart_is_loaded_without_one(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = place.new_cluster()
        await place.converge(cluster)
        before = processes.find(place.wanted(cluster).server)
        cluster = changed(place, cluster, work_mem=7, timezone="Asia/Tokyo", log_min_duration_statement=250)
        await place.converge(cluster)
        assert processes.find(place.wanted(cluster).server) == before
        with psycopg.connect(direct(cluster)) as client:
            row = client.execute("SELECT current_setting('work_mem'), current_setting('TimeZone')").fetchone()
        assert row == ("7MB", "Asia/Tokyo")

    labs(scenario)


def test_a_slot_keeps_a_part_of_the_storage_which_grows_without_a_restart(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = lab.new_cluster()
        await lab.converge(cluster)
        before = running(lab.wanted(cluster).server)
        shown = (
            "SELECT current_setting('max_slot_wal_keep_size'), current_setting('log_replication_commands')"
        )
        assert await lab.rows(cluster, shown) == [("2560MB", "on")]
        larger = replace(cluster, storage_mib=cluster.storage_mib * 2)
        await lab.converge(larger)
        assert await lab.rows(cluster, shown) == [("5GB", "on")]
        chosen = changed(lab, larger, max_slot_wal_keep_size=-1)
        await lab.converge(chosen)
        assert await lab.rows(cluster, shown) == [("-1", "on")]
        assert running(lab.wanted(cluster).server) == before

    labs(scenario)


def test_a_restart_is_noticed_by_no_client_of_a_transaction_pool(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        before = processes.find(place.wanted(cluster).server)
        with load(uri(cluster, "transactions")) as busy:
            cluster = changed(place, cluster, max_prepared_transactions=5)
            done = await place.converge(cluster)
            busy.proceed(100)
        assert busy.errors == []
        assert [change for change in done if isinstance(change, Restart)]
        assert processes.find(place.wanted(cluster).server) != before
        assert (await seen(place, cluster))["max_prepared_transactions"] == "5"
        assert await place.plan(cluster) == []

    labs(scenario)


def test_a_restart_that_is_broken_off_after_any_step_is_completed_by_the_next_pass(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        with load(uri(cluster, "transactions"), clients=3) as busy:
            for number in range(1, 9):
                cluster = changed(place, cluster, track_activity_query_size=1024 + number)
                await place.converge(cluster, stop_after=number)
                await place.converge(cluster)
                assert await place.plan(cluster) == []
                busy.proceed(20)
        assert busy.errors == []
        assert (await seen(place, cluster))["track_activity_query_size"] == "1032 B"

    labs(scenario)


def test_a_pooler_that_was_left_paused_goes_on_with_the_next_pass(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        await console(place, cluster, "PAUSE")
        await place.converge(cluster)
        with psycopg.connect(uri(cluster, "transactions"), connect_timeout=60) as client:
            assert client.execute("SELECT 1").fetchone() == (1,)

    labs(scenario)


def test_a_setting_that_the_server_would_not_start_with_is_left_out_at_its_restart(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = place.new_cluster()
        await place.converge(cluster)
        settings: dict[str, Value] = {"max_files_per_process": 1, "max_wal_senders": 50}
        wrong = replace(cluster, configuration=Configuration(postgresql=settings))
        await place.converge(wrong)
        shown = configuration.effective_values(wrong, await seen(place, wrong))
        assert (shown["max_files_per_process"], shown["max_wal_senders"]) == (1000, 50)

    labs(scenario)


def test_every_database_has_a_pool_of_its_own_when_that_is_chosen(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = with_pools(place.new_cluster())
        await place.converge(cluster)
        with pytest.raises(psycopg.OperationalError, match="no such database"):
            psycopg.connect(uri(cluster, "defaultdb"))
        cluster = changed(place, cluster, pgbouncer={"autodb_pool_size": 3})
        await place.converge(cluster)
        with psycopg.connect(uri(cluster, "defaultdb")) as client:
            assert client.execute("SELECT current_user").fetchone() == ("doadmin",)
            rows = await console(place, cluster, "SHOW DATABASES")
            assert [row["pool_size"] for row in rows if row["name"] == "defaultdb"] == [3]

    labs(scenario)


def test_a_connect_query_runs_on_each_connection_to_the_server(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        query = "SET search_path TO 'it''s', public"
        cluster = changed(place, with_pools(place.new_cluster()), cenote={"connect_query": query})
        await place.converge(cluster)
        with psycopg.connect(uri(cluster, "transactions")) as client:
            assert client.execute("SHOW search_path").fetchone() == ('"it\'s", public',)

    labs(scenario)


def test_the_estimate_of_shared_memory_is_never_below_what_the_server_says(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        if int(place.version) < 15:
            pytest.skip("PostgreSQL says how much shared memory it takes since version 15")
        cluster = place.new_cluster()
        for wanted in (
            {},
            {"max_connections": 100, "max_locks_per_transaction": 640},
            {"max_prepared_transactions": 2000, "max_pred_locks_per_transaction": 128},
            {"shared_buffers_percentage": 60.0, "track_activity_query_size": 10_240},
        ):
            cluster = changed(place, place.new_cluster(), **wanted)
            await place.converge(cluster)
            [(mib,)] = await place.rows(
                cluster, "SELECT setting::int FROM pg_settings WHERE name = 'shared_memory_size'"
            )
            memory = place.host.memory_mib
            connections = int(configuration.with_room(cluster, memory)["max_connections"])
            estimate = configuration.shared_mib(cluster, memory, connections)
            assert mib <= estimate <= 1.3 * mib, wanted

    labs(scenario)


def test_no_verifier_is_noted_down_by_a_server_that_notes_down_everything(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        everything = {"log_min_duration_statement": 0, "pg_stat_statements.track": "all"}
        cluster = changed(place, place.new_cluster(), **everything)
        await place.converge(cluster)
        await place.converge(replace(cluster, users=(*cluster.users, records.user("app"))))
        assert await place.rows(cluster, "SELECT query FROM pg_stat_statements WHERE query ~ 'SCRAM'") == []
        session = place.session(cluster)
        [(ours, _)] = await session.rows("postgres", "SELECT pg_backend_pid(), 'SCRAM-SHA-256$'")
        with psycopg.connect(direct(cluster)) as client:
            client.execute("SELECT 'noted down'")
            asked = "SELECT query FROM pg_stat_activity WHERE pid = %s OR query ~ 'SCRA[M]-SHA-256[$]'"
            assert "SCRAM" not in str(client.execute(asked, (ours,)).fetchall())
            assert client.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (ours,)
            ).fetchone() == (1,)
        await session.close()
        log = place.wanted(cluster).server.log.read_text()
        assert "noted down" in log
        assert "SCRAM" not in log

    labs(scenario)


def test_every_name_of_a_time_zone_that_is_taken_is_one_for_the_server(labs: Share) -> None:
    async def scenario(place: Lab) -> None:
        cluster = place.new_cluster()
        await place.converge(cluster)
        session = place.session(cluster)
        try:
            for zone in sorted(around(place).time_zones):
                assert await session.rows("postgres", f"SELECT set_config('TimeZone', '{zone}', false)") == [
                    (zone,)
                ]
        finally:
            await session.close()

    labs(scenario)
