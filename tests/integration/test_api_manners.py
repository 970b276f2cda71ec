"""How the API behaves to whoever calls: scopes, tokens, browsers, limits, and many at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cenote.api import auth
from cenote.api.app import OPERATIONS
from tests.support.api import POOL, Api, Apis

NOBODY = str(uuid4())
CALLS = [
    (route.method.value, re.sub(r"\{\w+\}", NOBODY, route.path), route.operation.scopes)
    for route in OPERATIONS
]
PAIRS = {needed for _, _, needed in CALLS if len(needed) > 1}
PAGE = {"origin": "https://example.com"}


# -- Tokens and scopes


async def answers(api: Api, headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """Call every operation on things that are not there, without a body; return the status codes."""
    return {
        (method, path): (await api.http.request(method, path, headers=headers)).status_code
        for method, path, _ in CALLS
    }


@pytest.mark.parametrize("scopes", sorted({(scope,) for scope in auth.SCOPES} | PAIRS))
def test_scopes_open_their_operations_and_no_other(apis: Apis, scopes: tuple[str, ...]) -> None:
    async def scenario(api: Api) -> None:
        found = await answers(api, await api.token(*scopes))
        for method, path, needed in CALLS:
            opens = set(needed) <= set(scopes) or auth.EVERYTHING in scopes
            assert (found[method, path] != 403) == opens, (method, path)
            assert found[method, path] != 401
            assert found[method, path] < 500

    apis.run(scenario)


@pytest.mark.parametrize("shown", ["none", "expired", "revoked", "unknown", "of another kind"])
def test_without_a_good_token_no_operation_says_anything_of_what_is_there(apis: Apis, shown: str) -> None:
    async def scenario(api: Api) -> None:
        good = await api.token("*")
        del api.http.headers["authorization"]
        headers = {
            "none": {},
            "expired": await api.token("*", expires_at=datetime.now(UTC) - timedelta(seconds=1)),
            "revoked": good,
            "unknown": {"authorization": "Bearer cenote_v1_" + "0" * 64},
            "of another kind": {"authorization": good["authorization"].replace("Bearer", "Basic")},
        }[shown]
        if shown == "revoked":
            await api.store.revoke_token(token_id(api, good))
        assert set((await answers(api, headers)).values()) == {401}

    apis.run(scenario)


def token_id(api: Api, headers: dict[str, str]) -> UUID:
    token = api.store.token(auth.digest(headers["authorization"].removeprefix("Bearer ")))
    assert token is not None
    return token.id


# -- Browsers


def test_a_browser_may_ask_what_a_page_may_do_without_a_token(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        del api.http.headers["authorization"]
        asking = {
            **PAGE,
            "access-control-request-method": "PUT",
            "access-control-request-headers": "authorization,content-type,x-mine",
        }
        answer = await api.http.options("/v2/databases", headers=asking)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "authorization,content-type,x-mine"
        assert "access-control-allow-credentials" not in answer.headers

    apis.run(scenario)


@pytest.mark.parametrize(
    ("path", "status"), [("/v2/databases", 200), ("/v2/databases/nothing", 404), ("/nowhere", 404)]
)
def test_a_page_can_read_every_answer_and_the_headers_that_matter(apis: Apis, path: str, status: int) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.http.get(path, headers=PAGE)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]

    apis.run(scenario)


def test_a_page_without_a_token_is_refused_like_everybody_else(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        del api.http.headers["authorization"]
        answer = await api.http.get("/v2/databases", headers=PAGE)
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "*"

    apis.run(scenario)


def test_who_is_no_browser_gets_no_headers_for_one(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.http.get("/v2/databases")
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    apis.run(scenario)


# -- Bodies


def test_a_body_of_unknown_length_is_taken_up_to_the_limit(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()

        async def chunks(count: int) -> AsyncIterator[bytes]:
            yield b'{"name": "one"'
            for _ in range(count):
                yield b" " * 1024
            yield b"}"

        await api.call("POST", f"{cluster}/dbs", 201, content=chunks(1000))
        await api.refusal("POST", f"{cluster}/dbs", 413, content=chunks(1100))

    apis.run(scenario)


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("DELETE", "/pools/backend-pool")])
def test_an_empty_body_that_claims_to_be_json_is_no_error(apis: Apis, method: str, path: str) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        headers = {"content-type": "application/json"}
        await api.call(method, f"{cluster}{path}", 204, headers=headers)

    apis.run(scenario)


# -- Many at once


def test_of_two_replacements_at_once_each_is_whole_and_one_is_the_last(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        lists = [
            [{"type": "ip_addr", "value": f"192.0.{side}.{last}"} for last in range(20)] for side in (1, 2)
        ]
        for _ in range(5):
            await asyncio.gather(
                *(api.call("PUT", f"{cluster}/firewall", 204, json={"rules": rules}) for rules in lists)
            )
            found = (await api.call("GET", f"{cluster}/firewall", 200))["rules"]
            assert [rule["value"] for rule in found] in [[rule["value"] for rule in one] for one in lists]

    apis.run(scenario)


def test_changes_of_different_things_at_once_are_all_kept(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster)
        rules = {"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]}
        calls: list[tuple[str, str, int, Any]] = [
            *(("POST", "users", 201, {"name": f"user{number}"}) for number in range(3)),
            *(("POST", "dbs", 201, {"name": f"db{number}"}) for number in range(3)),
            *(("POST", "pools", 201, {**POOL, "name": f"pool{number}", "size": 1}) for number in range(3)),
            ("PUT", "firewall", 204, rules),
            ("PATCH", "config", 200, {"config": {"work_mem": 8}}),
        ]
        await asyncio.gather(
            *(api.call(method, f"{cluster}/{path}", code, json=body) for method, path, code, body in calls)
        )
        one = (await api.call("GET", cluster, 200))["database"]
        assert {user["name"] for user in one["users"]} == {"doadmin", "user0", "user1", "user2"}
        assert set(one["db_names"]) == {"defaultdb", "db0", "db1", "db2"}
        assert len(one["rules"]) == 1
        assert len((await api.call("GET", f"{cluster}/pools", 200))["pools"]) == 3
        assert (await api.call("GET", f"{cluster}/config", 200))["config"]["work_mem"] == 8

    apis.run(scenario)


def test_the_same_name_at_once_is_given_to_one(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        tried = await asyncio.gather(
            *(api.http.post(f"{cluster}/users", json={"name": "app"}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in tried) == [201, 422, 422, 422, 422]
        [made] = [answer.json()["user"] for answer in tried if answer.status_code == 201]
        assert (await api.call("GET", f"{cluster}/users/app", 200))["user"] == made

    apis.run(scenario)
