"""The operations on log sinks: shapes, refusals, scopes, and where secrets are."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from cenote.api import auth
from tests.support.api import Api, Apis

SEARCH: dict[str, Any] = {
    "sink_name": "search",
    "sink_type": "opensearch",
    "config": {"url": "https://logger:hunter2@192.0.2.1:9200", "index_prefix": "logs", "index_days_max": 5},
}
SYSLOG: dict[str, Any] = {
    "sink_name": "syslog",
    "sink_type": "rsyslog",
    "config": {
        "server": "logs.example.com",
        "port": 514,
        "tls": False,
        "format": "custom",
        "logline": "KEY %msg%",
    },
}


def test_a_sink_is_made_listed_changed_and_removed_in_the_shapes_of_the_reference(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"{await api.add_cluster()}/logsink"
        assert await api.call("GET", path, 200) == {"sinks": []}
        made = (await api.call("POST", path, 201, json=SEARCH))["sink"]
        starting = {
            "state": "starting",
            "reason": "",
            "delivered_at": None,
            "lag_bytes": 0,
            "lost_bytes": 0,
            "refused_messages": 0,
        }
        assert made.pop("cenote") == starting
        assert made == {"sink_id": made["sink_id"], **SEARCH}
        other = (await api.call("POST", path, 201, json=SYSLOG))["sink"]
        listed = (await api.call("GET", path, 200))["sinks"]
        assert [sink["sink_name"] for sink in listed] == ["search", "syslog"]
        one = f"{path}/{made['sink_id']}"
        assert await api.call("GET", one, 200) == made | {"cenote": starting}  # bare, not {"sink": …}
        config = {"url": "http://192.0.2.2", "index_prefix": "other"}
        assert await api.call("PUT", one, 200, json={"config": config}) is None
        changed = await api.call("GET", one, 200)
        assert changed["config"] == config
        assert (changed["sink_name"], changed["sink_type"]) == ("search", "opensearch")
        assert await api.call("DELETE", one, 200) is None
        for method, body in (("GET", None), ("PUT", {"config": config}), ("DELETE", None)):
            await api.refusal(method, one, 404, json=body)
        assert [sink["sink_id"] for sink in (await api.call("GET", path, 200))["sinks"]] == [other["sink_id"]]

    apis.run(scenario)


def test_what_cannot_be_is_refused_and_changes_nothing(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"{await api.add_cluster()}/logsink"
        made = (await api.call("POST", path, 201, json=SEARCH))["sink"]
        one = f"{path}/{made['sink_id']}"
        changes: list[dict[str, Any]] = [
            {"sink_type": "datadog", "config": {"site": "x", "datadog_api_key": "x"}},
            {"sink_type": "kafka"},
            {"sink_name": ""},
            {"sink_name": "search"},
            {"config": {}},
            {"config": SYSLOG["config"]},
            {"config": SEARCH["config"] | {"url": "https://169.254.169.254/latest"}},
            {"config": SEARCH["config"] | {"url": "https://[::ffff:127.0.0.1]:2379"}},
            {"config": SEARCH["config"] | {"url": "https://localhost:2379"}},
            {"nothing": 1},
        ]
        for change in changes:
            await api.refusal("POST", path, 422, json={**SEARCH, "sink_name": "new"} | change)
        await api.refusal("PUT", one, 422, json={"config": SYSLOG["config"]})
        await api.refusal("PUT", one, 422, json={"config": SEARCH["config"], "sink_name": "new"})
        await api.refusal("POST", path, 400, content=b"{")
        await api.refusal("GET", f"{path}/x", 404)
        assert (await api.call("GET", path, 200))["sinks"] == [made]

    apis.run(scenario)


def test_there_are_as_many_sinks_as_fit_into_a_record(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"{await api.add_cluster()}/logsink"
        for number in range(8):
            await api.call("POST", path, 201, json={**SYSLOG, "sink_name": f"s{number}"})
        message = await api.refusal("POST", path, 422, json={**SYSLOG, "sink_name": "one more"})
        assert message == "a cluster has at most 8 log sinks, and this one has 8."

    apis.run(scenario)


def test_each_operation_needs_its_scope_and_secrets_need_theirs(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"{await api.add_cluster()}/logsink"
        search = (await api.call("POST", path, 201, json=SEARCH))["sink"]
        syslog = (await api.call("POST", path, 201, json=SYSLOG))["sink"]
        one = f"{path}/{search['sink_id']}"
        seeing = "database:view_credentials"  # who has the logs sent away sees what they hold
        for method, place, body, scopes, status in (
            ("GET", path, None, {"database:read"}, 200),
            ("GET", one, None, {"database:read"}, 200),
            ("POST", path, {**SEARCH, "sink_name": "third"}, {"database:create", seeing}, 201),
            ("PUT", one, {"config": SEARCH["config"]}, {"database:update", seeing}, 200),
            ("DELETE", one, None, {"database:delete"}, 200),
        ):
            for lacking in scopes:
                others = {scope for scope in auth.SCOPES if scope not in (lacking, auth.EVERYTHING)}
                await api.refusal(method, place, 403, json=body, headers=await api.token(*others))
            headers = await api.token(*scopes)
            answer = await api.http.request(method, place, json=body, headers=headers)
            assert answer.status_code == status
            if seeing not in scopes:
                assert "hunter2" not in answer.text
                assert "KEY" not in answer.text
        reader = await api.token("database:read", "database:view_credentials")
        shown = await api.call("GET", f"{path}/{syslog['sink_id']}", 200, headers=reader)
        assert shown["config"] == SYSLOG["config"]

    apis.run(scenario)


def test_no_secret_of_a_sink_is_in_the_record_or_in_an_event(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/logsink", 201, json=SEARCH)
        stored = api.store.cluster(UUID(cluster.rpartition("/")[2]))
        assert stored is not None
        record = msgspec.json.encode(stored.value).decode() + repr(stored.value)
        assert "hunter2" not in record
        assert "192.0.2.1" not in record
        assert "sealed_config" not in repr(stored.value)
        audit = await api.http.get("/v2/cenote/audit")
        assert "logsink" in audit.text
        assert "hunter2" not in audit.text

    apis.run(scenario)
