"""The login for metrics by the API, and what the store keeps of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.api import Api, Apis

PATH = "/v2/databases/metrics/credentials"
OURS = {"basic_auth_username": "prometheus", "basic_auth_password": "correct-horse"}


def test_the_first_who_asks_has_a_login_made_and_everybody_gets_the_same(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        answers = await asyncio.gather(*(api.call("GET", PATH, 200) for _ in range(10)))
        [login] = {tuple(sorted(answer["credentials"].items())) for answer in answers}
        found = dict(login)
        assert found["basic_auth_username"] == "metrics"
        assert len(found["basic_auth_password"]) >= 24
        kept = api.store.metrics_login()
        assert kept is not None
        assert found["basic_auth_password"] not in kept.sealed_password
        assert api.sealer.open(kept.sealed_password).reveal() == found["basic_auth_password"]

    apis.run(scenario)


def test_a_login_of_ones_own_replaces_it(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for password in ("correct-horse", "battery-staple"):
            wanted = {**OURS, "basic_auth_password": password}
            await api.call("PUT", PATH, 204, json={"credentials": wanted})
            assert await api.call("GET", PATH, 200) == {"credentials": wanted}
        what = [entry["what"] for entry in (await api.call("GET", "/v2/cenote/audit", 200))["entries"]]
        assert what == [f"PUT {PATH}"] * 2

    apis.run(scenario)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"credentials": None}, 422),
        ({"credentials": {"basic_auth_username": "prometheus"}}, 422),
        ({"credentials": {**OURS, "basic_auth_username": "a:b"}}, 422),
        ({"credentials": {**OURS, "basic_auth_password": "short"}}, 422),
        ({"credentials": {**OURS, "other": 1}}, 422),
    ],
)
def test_a_login_that_does_not_fit_is_refused_and_changes_nothing(
    apis: Apis, body: object, status: int
) -> None:
    async def scenario(api: Api) -> None:
        before = await api.call("GET", PATH, 200)
        await api.refusal("PUT", PATH, status, json=body)
        assert await api.call("GET", PATH, 200) == before

    apis.run(scenario)


@pytest.mark.parametrize(
    "scopes",
    [
        ("database:update",),
        ("database:view_credentials",),
        ("database:read", "database:view_credentials"),
        ("cenote:admin",),
    ],
)
def test_reading_the_login_needs_both_scopes(apis: Apis, scopes: tuple[str, ...]) -> None:
    async def scenario(api: Api) -> None:
        await api.refusal("GET", PATH, 403, headers=await api.token(*scopes))
        both = await api.token("database:update", "database:view_credentials")
        await api.call("GET", PATH, 200, headers=both)

    apis.run(scenario)


def test_replacing_the_login_needs_the_scope_for_changes_alone(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        reader = await api.token("database:read", "database:view_credentials")
        await api.refusal("PUT", PATH, 403, headers=reader, json={"credentials": OURS})
        await api.call(
            "PUT", PATH, 204, headers=await api.token("database:update"), json={"credentials": OURS}
        )

    apis.run(scenario)
