"""Events of a cluster, and the audit trail."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from cenote.api.app import OPERATIONS
from cenote.model.records import Cluster
from tests.support.api import POOL, Api, Apis

AUDIT = "/v2/cenote/audit"
# What a call of each operation that changes something needs; those that say "not supported" change nothing.
RSYSLOG = {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"}
SINK = {"sink_name": "logs", "sink_type": "rsyslog", "config": RSYSLOG}
BODIES: dict[str, dict[str, Any]] = {
    "add_user": {"name": "another"},
    "update_user": {"settings": {"pg_allow_replication": True}},
    "reset_auth": {},
    "add_database": {"name": "another"},
    "add_pool": {**POOL, "name": "another"},
    "update_pool": {"mode": "session", "size": 3, "db": "defaultdb"},
    "replace_rules": {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]},
    "replace_do_settings": {"do_settings": {"service_cnames": ["db.example.com"]}},
    "resize_cluster": {"size": "db-s-2vcpu-4gb", "num_nodes": 1},
    "replace_autoscale": {"storage": {"enabled": True, "threshold_percent": 80, "increment_gib": 10}},
    "move_window": {"day": "monday", "hour": "04:00"},
    "migrate_cluster": {"region": "fra1"},
    "change_config": {"config": {"work_mem": 8}},
    "replace_delete_protection": {"enabled": True},
    "replace_undelete_days": {"days": 3},
    "create_sink": {**SINK, "sink_name": "more"},
    "update_sink": {"config": {**RSYSLOG, "format": "rfc3164"}},
}
NOT_ABOUT_A_CLUSTER = {
    *("create_cluster", "create_token", "revoke_token", "replace_metrics_login"),
    *("undelete_cluster", "purge_cluster"),  # test_undelete.py
    *("create_tag", "delete_tag", "tag_resources", "untag_resources"),
    *("create_project", "update_project", "replace_project", "delete_project", "assign_resources"),
    *("create_vpc", "update_vpc", "patch_vpc", "delete_vpc"),
    *("rotate_keys", "drain_host", "undrain_host", "remove_host", "create_host_token", "revoke_host_token"),
}
NEEDS_ANOTHER_HOST = {
    *("move_cluster", "cancel_move"),  # test_fleet_moves.py
    "recover_cluster",  # test_fleet_recovery.py
    *("switch_over", "cancel_switch"),  # test_api_nodes.py
}
OF_A_REPLICA = {"add_replica", "delete_replica", "promote_replica"}  # test_api_replicas.py
NEEDS_ANOTHER_VERSION = {"upgrade_cluster", "rehearse_upgrade"}  # test_major_upgrade.py
NEEDS_ANOTHER_SERVER = {"start_migration", "stop_migration", "finish_migration"}  # test_online_migration.py
NEEDS_BACKUPS = {"create_backup", "create_drill"}  # test_backups.py, test_restore_drills.py


async def types(api: Api, cluster: str) -> list[str]:
    events = (await api.call("GET", f"{cluster}/events", 200))["events"]
    return [event["event_type"] for event in events]


async def entries(api: Api, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.call("GET", AUDIT, 200, params=query))["entries"]
    return found


async def furnished(api: Api, *, reported: bool = True) -> str:
    """Return a cluster with one of everything."""
    cluster = await api.add_cluster()
    if reported:
        await api.report(cluster)
    await api.call("POST", f"{cluster}/users", 201, json={"name": "app"})
    await api.call("POST", f"{cluster}/dbs", 201, json={"name": "shop"})
    await api.call("POST", f"{cluster}/pools", 201, json=POOL)
    await api.call("POST", f"{cluster}/logsink", 201, json=SINK)
    return cluster


async def path_of(api: Api, route: str, cluster: str) -> str:
    """Return the path of a call on a furnished cluster."""
    sinks = (await api.call("GET", f"{cluster}/logsink", 200))["sinks"]
    names: dict[str, str] = {"pool_name": str(POOL["name"]), "username": "app", "database_name": "shop"}
    names["database_cluster_uuid"] = cluster.rpartition("/")[2]
    names["logsink_id"] = sinks[0]["sink_id"]
    return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], route)


def test_a_cluster_has_an_event_of_its_creation_and_of_each_change_the_newest_first(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        before = datetime.now(UTC).replace(microsecond=0)
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/users", 201, json={"name": "app"})
        body = await api.call("GET", f"{cluster}/events", 200)
        assert [event["event_type"] for event in body["events"]] == ["cluster_update", "cluster_create"]
        assert body["meta"] == {"total": 2}
        for event in body["events"]:
            assert set(event) == {"id", "cluster_name", "event_type", "create_time", "cenote"}
            assert event["cluster_name"] == "backend"
            assert before <= datetime.fromisoformat(event["create_time"]) <= datetime.now(UTC)

    apis.run(scenario)


CHANGES = [
    (route.name, route.method.value, route.path)
    for route in OPERATIONS
    if route.method not in ("GET", "HEAD")
    and route.name not in ("reject", "not_found", *NOT_ABOUT_A_CLUSTER)
    and route.name not in (*NEEDS_ANOTHER_HOST, *NEEDS_ANOTHER_VERSION, *NEEDS_ANOTHER_SERVER, *NEEDS_BACKUPS)
    and route.name not in OF_A_REPLICA
]


@pytest.mark.parametrize(("name", "method", "path"), CHANGES, ids=[name for name, *_ in CHANGES])
def test_every_change_of_a_cluster_leaves_an_entry_that_tells_who_and_what(
    apis: Apis, name: str, method: str, path: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        called = await path_of(api, path, cluster)
        before = await entries(api)
        answer = await api.http.request(method, called, json=BODIES.get(name))
        assert answer.is_success, answer.text
        [entry] = (await entries(api))[: -len(before)]
        assert entry["what"] == f"{method} {called}"
        assert entry["request_id"] == answer.headers["x-request-id"]
        assert entry["token"]["name"] == "test"
        assert entry["address"] == "127.0.0.1"
        assert entry["cluster_uuid"] == cluster.rpartition("/")[2]
        assert entry["event_type"] is not None

    apis.run(scenario)


def test_what_only_reads_leaves_no_entry(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        before = await entries(api)
        await api.call("GET", cluster, 200)
        await api.refusal("GET", f"{cluster}/pools/none", 404)
        await api.store.close()  # which writes what waits
        found, total = await api.store.audit(None, 100)
        assert not any(event.note.refused for event in found)
        assert len(before) == total == len(found)

    apis.run(scenario)


def test_a_deleted_cluster_is_in_the_audit_trail_and_its_events_are_not_found(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("DELETE", cluster, 204)
        await api.refusal("GET", f"{cluster}/events", 404)
        found = await entries(api, cluster_uuid=cluster.rpartition("/")[2])
        assert [entry["event_type"] for entry in found] == ["cluster_delete", "cluster_create"]

    apis.run(scenario)


def test_tokens_that_are_made_and_revoked_are_in_the_audit_trail_without_their_text(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "ci", "scopes": ["database:read"]}
        made = (await api.call("POST", "/v2/cenote/tokens", 201, json=body))["token"]
        await api.call("DELETE", f"/v2/cenote/tokens/{made['id']}", 204)
        revoked, created = await entries(api)
        assert created["what"] == "POST /v2/cenote/tokens"
        assert revoked["what"] == f"DELETE /v2/cenote/tokens/{made['id']}"
        assert revoked["cluster_uuid"] is revoked["event_type"] is None
        assert made["token"] not in str([revoked, created])

    apis.run(scenario)


def test_only_who_administers_the_service_reads_the_audit_trail(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.refusal("GET", AUDIT, 403, headers=await api.token("database:read", "database:update"))
        await api.call("GET", AUDIT, 200, headers=await api.token("cenote:admin"))

    apis.run(scenario)


def test_the_audit_trail_is_read_in_pages_and_by_cluster(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        one = await furnished(api)
        await api.add_cluster(name="other")
        body = await api.call("GET", AUDIT, 200, params={"per_page": "2", "page": "2"})
        assert (len(body["entries"]), body["meta"]["total"]) == (2, 6)
        assert len(await entries(api, cluster_uuid=one.rpartition("/")[2])) == 5
        assert await entries(api, cluster_uuid=str(uuid4())) == []
        await api.refusal("GET", AUDIT, 422, params={"cluster_uuid": "x"})

    apis.run(scenario)


def test_a_change_that_many_make_at_once_has_one_event_for_each(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await asyncio.gather(
            *(api.call("POST", f"{cluster}/dbs", 201, json={"name": f"db{number}"}) for number in range(10))
        )
        assert (await types(api, cluster)).count("cluster_update") == 10

    apis.run(scenario)


def test_what_the_service_does_by_itself_is_no_entry(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        before = await entries(api)

        def same(current: Cluster) -> Cluster:
            return current

        await api.report(cluster, "busy")
        stored = api.store.clusters()[0]
        await api.store.update_cluster(stored.value.id, same)
        assert [entry["id"] for entry in await entries(api)] == [entry["id"] for entry in before]

    apis.run(scenario)
