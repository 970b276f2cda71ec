"""``/config``: what is read, changed and refused, with a real store and without servers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.api import Settings
from cenote.model.records import Configuration
from cenote.model.status_records import SettingLimits
from tests.support.api import POOL, Api, Apis


def stored(api: Api, cluster: str) -> Configuration:
    found = api.store.cluster(UUID(cluster.rpartition("/")[2]))
    assert found is not None
    return found.value.configuration


async def config(api: Api, cluster: str) -> Any:
    return (await api.call("GET", f"{cluster}/config", 200))["config"]


async def change(api: Api, cluster: str, expected: int = 200, **settings: Any) -> Any:
    return await api.call("PATCH", f"{cluster}/config", expected, json={"config": settings})


def test_what_is_changed_is_read_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        settings: dict[str, Any] = {
            "work_mem": 4,
            "shared_buffers_percentage": 41.5,
            "track_io_timing": "on",
            "pgbouncer": {"ignore_startup_parameters": ["search_path"], "server_lifetime": 60},
            "cenote": {"query_wait_timeout": 5, "connect_query": "SET work_mem = '1MB'"},
        }
        await change(api, cluster, **settings)
        shown = await config(api, cluster)
        assert shown["work_mem"] == 4
        assert shown["shared_buffers_percentage"] == 41.5
        assert shown["track_io_timing"] == "on"
        assert shown["pgbouncer"].items() >= settings["pgbouncer"].items()
        assert shown["cenote"].items() >= settings["cenote"].items()

    apis.run(scenario)


def test_sql_that_runs_as_the_users_of_pools_takes_the_right_to_see_their_passwords(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        plain = await api.token("database:read", "database:update")
        sees = await api.token("database:read", "database:update", "database:view_credentials")
        path, query = f"{cluster}/config", "ALTER ROLE doadmin PASSWORD 'x'"

        async def ask(expected: int, token: dict[str, str], query: str | None) -> None:
            body = {"config": {"cenote": {"connect_query": query, "query_wait_timeout": 7}}}
            await api.call("PATCH", path, expected, json=body, headers=token)

        await ask(403, plain, query)
        assert (await config(api, cluster))["cenote"]["connect_query"] == ""
        await ask(200, sees, query)
        await ask(200, plain, query)  # what was read is sent back
        await ask(403, plain, None)
        await ask(403, plain, "SELECT 1")
        assert (await config(api, cluster))["cenote"]["connect_query"] == query

    apis.run(scenario)


def test_what_the_server_says_is_shown_in_the_units_of_the_api(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster)
        id = UUID(cluster.rpartition("/")[2])
        status = api.store.status(id, "node-1")
        assert status is not None
        settings = {"max_connections": "25", "work_mem": "10240 kB", "jit": "on", "timezone": "UTC"}
        await api.write_report(id, replace(status, settings=settings))
        shown = await config(api, cluster)
        assert {name: shown[name] for name in settings} == {
            "max_connections": 25,
            "work_mem": 10,
            "jit": True,
            "timezone": "UTC",
        }
        await change(api, cluster, **{name: shown[name] for name in settings})
        assert stored(api, cluster) == Configuration()

    apis.run(scenario)


UNUSED: dict[str, Any] = {
    "backup_hour": 3,
    "backup_minute": 0,
    "max_standby_archive_delay": 43_200,
    "max_standby_streaming_delay": 43_200,
    "pg_partman_bgw.interval": 3600,
    "pg_partman_bgw.role": "maintainer",
    "stat_monitor_enable": False,
    "timescaledb": {"max_background_workers": 8},
}


def test_settings_without_effect_are_answered_as_sent_and_named_as_not_in_force(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster)
        before = await config(api, cluster)
        assert not before.keys() & UNUSED.keys()
        answer = await api.call("PATCH", f"{cluster}/config", 200, json={"config": UNUSED})
        assert answer["cenote"]["reason"].count("has no effect: ") == len(UNUSED)
        found = await config(api, cluster)
        assert found == before | UNUSED
        lines = (await api.call("GET", cluster, 200))["database"]["cenote"]["not_in_force"]
        assert (
            "timescaledb.max_background_workers has no effect: TimescaleDB is not offered by this version"
            in lines
        )
        assert len(lines) == len(UNUSED)
        await change(api, cluster, **found)  # what was read is sent back
        assert (await config(api, cluster)) == found
        again = await api.call("PATCH", f"{cluster}/config", 200, json={"config": {"work_mem": 8}})
        assert again == {}  # of this request all is in force

    apis.run(scenario, Settings(wait_seconds=10, host_id="here"))


def test_null_takes_back_a_setting_without_effect(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await change(api, cluster, **UNUSED)
        await change(api, cluster, timescaledb={}, backup_hour=None)
        found = await config(api, cluster)
        assert found["timescaledb"] == {"max_background_workers": 8}
        assert "backup_hour" not in found
        nothing: dict[str, Any] = dict.fromkeys(UNUSED)
        await change(api, cluster, **nothing)
        assert stored(api, cluster) == Configuration()
        await change(api, cluster, timescaledb={"max_background_workers": 8})
        await change(api, cluster, timescaledb={"max_background_workers": None})
        assert stored(api, cluster) == Configuration()
        assert "not_in_force" not in (await api.call("GET", cluster, 200))["database"]["cenote"]

    apis.run(scenario)


REFUSALS: list[tuple[Any, str]] = [
    ({"config": {"work_mem": 0}}, "work_mem: 0 is out of range: 1 to 1024 MB."),
    ({"config": {"work_mem": "4"}}, "work_mem: '4' is not a number."),
    ({"config": {"timezone": "Mars/Olympus"}}, "timezone: 'Mars/Olympus' is not a time zone"),
    ({"config": {"synchronous_replication": "quorum"}}, "synchronous_replication: quorum needs"),
    ({"config": {"backup_hour": 24}}, "backup_hour: 24 is out of range: 0 to 23."),
    ({"config": {"timescaledb": {"max_background_workers": 0}}}, "timescaledb.max_background_workers: 0 is"),
    ({"config": {"timescaledb": {"license": "x"}}}, "timescaledb: 'license' is not a setting"),
    ({"config": {"timescaledb": 8}}, "timescaledb: must be an object."),
    ({"config": {"timescaledb.max_background_workers": 8}}, "config: 'timescaledb.max_background_workers'"),
    ({"config": {"sql_mode": "ANSI"}}, "config: 'sql_mode' is not a setting"),
    (
        {"config": {"pg_stat_statements.track": "all"}},
        "pg_stat_statements.track: requires pg_stat_statements,",
    ),
    ({"config": {"pgbouncer": {"server_lifetime": 59}}}, "server_lifetime: 59 is out of range: 60 to 86400."),
    ({"config": []}, "Expected `object`, got `array` - at `$.config`"),
    ({}, "Object missing required field `config`"),
    ({"config": {}, "colour": 1}, "Object contains unknown field `colour`"),
]


@pytest.mark.parametrize(("body", "beginning"), REFUSALS)
def test_a_change_that_is_refused_says_why_and_changes_nothing(apis: Apis, body: Any, beginning: str) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        if isinstance(body.get("config"), dict):
            body["config"] = {"jit": False} | body["config"]
        assert (await api.refusal("PATCH", f"{cluster}/config", 422, json=body)).startswith(beginning)
        assert stored(api, cluster) == Configuration()

    apis.run(scenario)


def test_two_changes_at_once_are_both_kept(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await asyncio.gather(
            change(api, cluster, wal_writer_delay=100),
            *(
                change(api, cluster, pgbouncer={name: 100})
                for name in ("server_lifetime", "server_idle_timeout")
            ),
        )
        assert stored(api, cluster).postgresql == {"wal_writer_delay": 100}
        assert stored(api, cluster).pgbouncer == {"server_lifetime": 100, "server_idle_timeout": 100}

    apis.run(scenario)


def test_fewer_connections_leave_less_room_for_pools(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster(size="db-s-1vcpu-2gb")
        await change(api, cluster, max_connections=30)
        message = await api.refusal("POST", f"{cluster}/pools", 422, json={**POOL, "size": 28})
        assert "27 of 27 connections are left" in message

    apis.run(scenario)


def test_reading_and_changing_the_configuration_each_need_their_scope(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        reader, writer = await api.token("database:read"), await api.token("database:update")
        await api.call("GET", f"{cluster}/config", 200, headers=reader)
        await api.refusal("PATCH", f"{cluster}/config", 403, json={"config": {}}, headers=reader)
        await api.call("PATCH", f"{cluster}/config", 200, json={"config": {}}, headers=writer)
        await api.refusal("GET", f"{cluster}/config", 403, headers=writer)

    apis.run(scenario)


LIMITS = {
    "default_toast_compression": SettingLimits(choices=("pglz",)),
    "work_mem": SettingLimits(minimum=1, maximum=512),
}


async def limited(api: Api) -> str:
    """Return a cluster whose server takes less than is offered."""
    cluster = await api.add_cluster()
    await api.report(cluster)
    id = UUID(cluster.rpartition("/")[2])
    status = api.store.status(id, "node-1")
    assert status is not None
    await api.write_report(id, replace(status, limits=LIMITS))
    return cluster


def test_what_the_server_does_not_take_is_refused_with_what_it_takes(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await limited(api)
        for settings, message in (
            ({"default_toast_compression": "lz4"}, "default_toast_compression: 'lz4' is not one of 'pglz'."),
            ({"work_mem": 1000}, "work_mem: 1000 is out of range: 1 to 512 MB."),
        ):
            refused = await api.refusal("PATCH", f"{cluster}/config", 422, json={"config": settings})
            assert refused == message
        assert stored(api, cluster) == Configuration()
        await change(api, cluster, default_toast_compression="pglz", work_mem=512)
        assert (await api.call("GET", f"{cluster}/config", 200))["cenote"] == {
            "limits": {
                "default_toast_compression": {"choices": ["pglz"]},
                "work_mem": {"minimum": 1, "maximum": 512},
            }
        }

    apis.run(scenario)


def test_a_value_that_was_recorded_before_may_be_sent_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await limited(api)
        id = UUID(cluster.rpartition("/")[2])
        older = Configuration(postgresql={"default_toast_compression": "lz4"})
        await api.store.update_cluster(id, lambda current: replace(current, configuration=older))
        sent = await config(api, cluster)
        assert sent["default_toast_compression"] == "lz4"
        await change(api, cluster, default_toast_compression="lz4", jit=False)
        assert stored(api, cluster).postgresql == {"default_toast_compression": "lz4", "jit": False}

    apis.run(scenario)
