"""Refused calls in the audit trail: who, what, when, from where, and the code; few entries for many calls."""

from __future__ import annotations

import asyncio
from typing import Any

from cenote.api import Settings
from tests.support.api import POOL, Api, Apis
from tests.support.waiting import wait_until_async

AUDIT = "/v2/cenote/audit"
WRONG = {"authorization": "Bearer cenote_v1_wrong"}


async def refused(api: Api, expected: int) -> list[dict[str, Any]]:
    """Return the refused calls of the trail as soon as there are that many, the newest first."""

    async def told() -> list[dict[str, Any]] | None:
        found = (await api.call("GET", AUDIT, 200, params={"per_page": "200"}))["entries"]
        chosen = [entry for entry in found if entry["refused"]]
        return chosen if len(chosen) >= expected else None

    found = await wait_until_async(f"{expected} refused calls are in the trail", 30, told)
    return found or []


def test_a_refused_change_tells_who_asked_for_what_from_where_and_the_code(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        answer = await api.http.delete(f"{cluster}/users/doadmin")
        [entry] = await refused(api, 1)
        assert entry["what"] == f"DELETE {cluster}/users/doadmin"
        assert (entry["refused"], entry["count"]) == (422, 1)
        assert entry["request_id"] == answer.headers["x-request-id"]
        assert entry["token"]["name"] == "test"
        assert entry["address"] == "127.0.0.1"
        assert (entry["cluster_name"], entry["event_type"]) == ("backend", None)
        told = await api.call("GET", AUDIT, 200, params={"cluster_uuid": cluster.rpartition("/")[2]})
        assert entry in told["entries"]
        events = (await api.call("GET", f"{cluster}/events", 200))["events"]
        assert [event["event_type"] for event in events] == ["cluster_create"]

    apis.run(scenario)


def test_a_caller_without_a_good_token_is_unknown_and_its_token_is_nowhere(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.refusal("GET", cluster, 401, headers=WRONG)
        [entry] = await refused(api, 1)
        assert (entry["refused"], entry["token"], entry["address"]) == (401, None, "127.0.0.1")
        assert (
            entry["cluster_uuid"] is None
        )  # who is not let in learns nothing, and writes nothing of a cluster
        assert "wrong" not in str(entry)

    apis.run(scenario)


def test_reads_are_remembered_only_when_the_token_lacks_the_scope(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        no_reader = await api.token("database:create")
        await api.refusal("GET", f"{cluster}/pools/none", 404)
        await api.refusal("GET", "/v2/databases", 422, params={"page": "x"})
        for path in (cluster, f"{cluster}/pools/{POOL['name']}"):
            await api.refusal("GET", path, 403, headers=no_reader)
        assert {(one["what"], one["refused"]) for one in await refused(api, 2)} == {
            (f"GET {cluster}", 403),
            (f"GET {cluster}/pools/{POOL['name']}", 403),
        }

    apis.run(scenario)


def test_a_change_beyond_the_rate_limit_is_remembered_with_its_token(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for _ in range(2):
            await api.http.post("/v2/databases", json={})
        await api.store.close()
        await api.store.open()
        told = [event.note for event in (await api.store.audit(None, 100))[0]]
        assert {note.refused: note.token_name for note in told} == {422: "test", 429: "test"}

    apis.run(scenario, Settings(wait_seconds=0, requests_per_minute=1, requests_per_hour=0))


def test_a_flood_is_a_few_entries_with_a_count(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.http.delete(f"{cluster}/pools/none")  # the first kinds are told apart from others
        for round in range(5):
            await asyncio.gather(
                *(api.http.delete(f"{cluster}/pools/none-{round}-{number}") for number in range(20)),
                *(api.http.delete(f"/v2/no/such/path/{round}/{number}") for number in range(20)),
                *(api.http.get(cluster, headers=WRONG) for _ in range(20)),
            )
        await api.store.close()  # which tells the rest of the minute
        await api.store.open()
        entries = await refused(api, 10)
        assert sum(entry["count"] for entry in entries) == 301
        assert len(entries) <= 30
        deletes = [entry for entry in entries if entry["what"].startswith(f"DELETE {cluster}/pools/")]
        assert [entry["count"] for entry in deletes] == [100, 1]
        found, _ = await api.store.audit(None, 1000)
        assert [event.note.refused for event in found].count(0) == 1

    apis.run(scenario, Settings(wait_seconds=0, requests_per_minute=0, requests_per_hour=0))
