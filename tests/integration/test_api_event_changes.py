"""What events and the audit trail say of each kind of change: from what to what, and with what outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from cenote.model.event_records import Event, EventType, Note
from cenote.model.status_records import NodeStatus
from tests.integration.test_api_events import AUDIT, BODIES, CHANGES, entries, furnished, path_of
from tests.support.api import POOL, Api, Apis

DESCRIBED = "PostgreSQL 15, db-s-1vcpu-1gb, nyc1, 10 GiB of storage"
SAID: dict[str, str] = {
    "delete_cluster": f"cluster backend: removed ({DESCRIBED})",
    "change_config": "setting work_mem: from the default to 8",
    "move_window": "maintenance window: from sunday 03:00 to monday 04:00",
    "install_update": "update of outdated programs asked for: from not set to 20",
    "reconnect_pool": "pool backend-pool: replacements of its server connections: from 0 to 1",
    "resize_cluster": "size: from db-s-1vcpu-1gb to db-s-2vcpu-4gb",
    "migrate_cluster": "region: from nyc1 to fra1",
    "replace_do_settings": "names of your own in the certificate: from not set to db.example.com",
    "replace_autoscale": "growth of the storage: from off to by 10 GiB at 80 %",
    "replace_delete_protection": "protection from deletion: from off to on",
    "replace_undelete_days": "days in which it can be undeleted: from not set to 3",
    "add_pool": "pool another: added (size 10, mode transaction, database defaultdb, user doadmin)",
    "update_pool": "pool backend-pool: size: from 10 to 3; "
    "pool backend-pool: mode: from transaction to session",
    "delete_pool": "pool backend-pool: removed (size 10, mode transaction, database defaultdb, user doadmin)",
    "create_sink": "log sink more: added (type rsyslog)",
    "update_sink": "configuration of log sink logs: changed",
    "delete_sink": "log sink logs: removed (type rsyslog)",
    "add_user": "user another: added",
    "update_user": "user app: replication: from not set to on",
    "reset_auth": "password of user app: changed",
    "delete_user": "user app: removed",
    "add_database": "database another: added",
    "delete_database": "database shop: removed",
    "replace_rules": "trusted source 192.0.2.1: added",
}


async def newest_event(api: Api, cluster: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.call("GET", f"{cluster}/events", 200))["events"][0]
    return found


@pytest.mark.parametrize(("name", "method", "path"), CHANGES, ids=[name for name, *_ in CHANGES])
def test_every_change_of_a_cluster_says_from_what_to_what(
    apis: Apis, name: str, method: str, path: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        called = await path_of(api, path, cluster)
        answer = await api.http.request(method, called, json=BODIES.get(name))
        assert answer.is_success, answer.text
        if name != "delete_cluster":
            shown = (await newest_event(api, cluster))["cenote"]
        [told, *_] = await entries(api)
        assert told["summary"].startswith(SAID[name])
        assert told["changes"]
        if name != "delete_cluster":
            # The outcome may have come in between.
            assert {**shown, "outcome": "", "reason": ""} == {
                key: "" if key in ("outcome", "reason") else told[key] for key in shown
            }
            assert (shown["token"]["name"], shown["address"]) == ("test", "127.0.0.1")
            assert shown["request_id"] == answer.headers["x-request-id"]
        assert told["more"] == 0

    apis.run(scenario)


def test_no_password_of_a_change_is_told(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        made = await api.call("POST", f"{cluster}/users", 201, json={"name": "more"})
        reset = await api.call("POST", f"{cluster}/users/app/reset_auth", 200, json={})
        sink = {
            "sink_name": "search",
            "sink_type": "opensearch",
            "config": {"url": "https://u:hunter2@192.0.2.1:9200", "index_prefix": "logs"},
        }
        await api.call("POST", f"{cluster}/logsink", 201, json=sink)
        query = {"config": {"cenote": {"connect_query": "select 'hunter3'"}}}
        await api.call("PATCH", f"{cluster}/config", 200, json=query)
        told = str(await entries(api)) + str(await api.call("GET", f"{cluster}/events", 200))
        assert "setting cenote.connect_query: changed" in told
        for secret in (made["user"]["password"], reset["user"]["password"], "hunter2", "hunter3"):
            assert secret not in told

    apis.run(scenario)


def test_a_change_is_pending_until_the_agent_has_carried_it_out(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        id = UUID(cluster.rpartition("/")[2])
        await api.report(cluster)
        known = (await api.call("GET", cluster, 200))["database"]["id"]
        await api.call("POST", f"{cluster}/pools", 201, json={**POOL, "name": "late"})
        stored = api.store.cluster(id)
        assert stored is not None
        reason = "PgBouncer does not answer"
        tried: dict[str, Any] = {"tried": stored.revision, "failed": {"PgBouncer": reason}, "reason": reason}
        status = NodeStatus(reached=stored.revision - 1, failing=True, at=datetime.now(UTC), **tried)
        await api.write_report(id, status)
        shown = (await newest_event(api, cluster))["cenote"]
        assert (shown["outcome"], shown["reason"]) == ("pending", reason)
        [entry, *_] = await entries(api, cluster_uuid=known)
        assert (entry["outcome"], entry["reason"]) == ("pending", reason)
        await api.report(cluster)
        shown = (await newest_event(api, cluster))["cenote"]
        assert (shown["outcome"], shown["reason"]) == ("done", None)

    apis.run(scenario, tries=False)


def test_an_event_of_a_former_version_is_shown_with_its_request(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        stored = api.store.clusters()[0]
        note = Note(what="PUT /v2/x", type=EventType.CLUSTER_UPDATE, token_id=uuid4(), token_name="old")
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await api.store.add_event(Event(id="01", at=at, note=note, cluster_id=stored.value.id))
        events = (await api.call("GET", f"{cluster}/events", 200))["events"]
        [old] = [event for event in events if event["id"] == "01"]
        assert old["event_type"] == "cluster_update"
        assert (old["cenote"]["summary"], old["cenote"]["changes"]) == ("PUT /v2/x", [])

    apis.run(scenario)


def test_what_the_service_did_by_itself_is_shown_in_words(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        id, at = api.store.clusters()[0].value.id, datetime.now(UTC)
        note = Note(what="restarted PostgreSQL, for settings that need it")
        await api.store.add_event(Event(id="f", at=at, note=note, cluster_id=id, cluster_name="backend"))
        shown = await newest_event(api, cluster)
        assert shown["event_type"] == "cluster_update"  # clients know no other word for it
        assert shown["cenote"]["summary"] == note.what
        assert (shown["cenote"]["token"], shown["cenote"]["outcome"]) == (None, "done")

    apis.run(scenario)


def test_changes_of_groups_tokens_and_logins_are_told(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        async def said(method: str, path: str, expected: int, **body: Any) -> str:
            await api.call(method, path, expected, **({"json": body} if body else {}))
            return str((await entries(api))[0]["summary"])

        assert await said("POST", "/v2/tags", 201, name="web") == "tag web: added"
        assert await said("DELETE", "/v2/tags/web", 204) == "tag web: removed"
        project = {"name": "shop", "purpose": "tests"}
        assert await said("POST", "/v2/projects", 201, **project) == "project shop: added (purpose tests)"
        [id] = [one["id"] for one in (await api.call("GET", "/v2/projects", 200))["projects"][1:]]
        renamed = await said("PATCH", f"/v2/projects/{id}", 200, name="store")
        assert renamed == "project shop: name: from shop to store"
        cluster = (await api.add_cluster()).rpartition("/")[2]
        urn = [f"do:dbaas:{cluster}"]
        assigned = await said("POST", f"/v2/projects/{id}/resources", 200, resources=urn)
        assert assigned == "project: from default to store"
        body = {"name": "ci", "scopes": ["database:read"]}
        assert (
            await said("POST", "/v2/cenote/tokens", 201, **body) == "token ci: added (scopes database:read)"
        )
        login = {"basic_auth_username": "me", "basic_auth_password": "long enough to be one"}
        path = "/v2/databases/metrics/credentials"
        told = await said("PUT", path, 204, credentials=login)
        assert told == "login for metrics: added (user name me)"
        assert {entry["outcome"] for entry in await entries(api, search="added")} == {"done", "pending"}

    apis.run(scenario)


def test_the_audit_trail_is_searched_by_token_and_text(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await furnished(api)
        other = await api.token("*")
        await api.call("POST", f"{cluster}/dbs", 201, json={"name": "Needle"}, headers=other)
        [found] = await entries(api, search="needle")
        assert found["summary"] == "database Needle: added"
        [found] = await entries(api, token=found["token"]["id"])
        assert found["summary"] == "database Needle: added"
        assert len(await entries(api, token="test")) == 6
        assert await entries(api, token="nobody") == []
        body = await api.call("GET", AUDIT, 200, params={"search": "added", "per_page": "2", "page": "2"})
        assert (len(body["entries"]), body["meta"]["total"]) == (2, 6)
        assert "search=added" in body["links"]["pages"]["next"]

    apis.run(scenario)
