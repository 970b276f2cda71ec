"""Replication, presets and owners as clients set and read them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, Apis


def test_a_user_that_was_never_asked_shows_no_settings(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for body in ({"name": "one"}, {"name": "two", "settings": {}}, {"name": "three", "cenote": {}}):
            user = (await api.call("POST", f"{cluster}/users", 201, json=body))["user"]
            assert set(user) == {"name", "role", "password"}

    apis.run(scenario)


@pytest.mark.parametrize("allowed", [True, False])
def test_replication_is_set_when_a_user_is_made_and_read_back(apis: Apis, allowed: bool) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        settings = {"pg_allow_replication": allowed}
        body = {"name": "app", "settings": settings}
        assert (await api.call("POST", f"{cluster}/users", 201, json=body))["user"]["settings"] == settings
        assert (await api.call("GET", f"{cluster}/users/app", 200))["user"]["settings"] == settings

    apis.run(scenario)


def test_an_update_changes_what_it_names_and_keeps_the_rest(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/users", 201, json={"name": "app"})

        async def updated(**body: Any) -> Any:
            return (await api.call("PUT", f"{cluster}/users/app", 201, json=body))["user"]

        before = await updated(settings={"pg_allow_replication": True})
        assert before["settings"] == {"pg_allow_replication": True}
        both = await updated(cenote={"access": "readwrite"})
        assert both == {**before, "cenote": {"access": "readwrite"}}
        assert await updated(settings={}) == both
        assert await updated(cenote={"access": None}) == before

    apis.run(scenario)


def test_a_new_password_leaves_the_settings(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        body = {"name": "app", "cenote": {"access": "readonly"}}
        before = (await api.call("POST", f"{cluster}/users", 201, json=body))["user"]
        after = (await api.call("POST", f"{cluster}/users/app/reset_auth", 200, json={}))["user"]
        assert after["password"] != before["password"]
        assert {**after, "password": before["password"]} == before

    apis.run(scenario)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"cenote": {"access": "all"}}, "cenote.access: 'all' is not one of readonly, readwrite."),
        ({"cenote": {"grant": "readonly"}}, "unknown field `grant`"),
        ({"settings": {"pg_allow_replication": "yes"}}, "Expected `bool | null`"),
    ],
)
def test_what_a_user_can_not_be_given_is_refused_and_no_user_is_made(
    apis: Apis, body: dict[str, Any], said: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert said in await api.refusal("POST", f"{cluster}/users", 422, json={"name": "app", **body})
        await api.refusal("GET", f"{cluster}/users/app", 404)

    apis.run(scenario)


@pytest.mark.parametrize(
    "body", [{"settings": {"pg_allow_replication": False}}, {"cenote": {"access": "readonly"}}]
)
def test_the_administrator_keeps_its_rights(apis: Apis, body: dict[str, Any]) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert "'doadmin'" in await api.refusal("PUT", f"{cluster}/users/doadmin", 422, json=body)

    apis.run(scenario)


def test_a_database_shows_its_owner_until_that_user_is_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/users", 201, json={"name": "app"})
        body = {"name": "shop", "cenote": {"owner": "app"}}
        assert (await api.call("POST", f"{cluster}/dbs", 201, json=body))["db"] == body
        assert (await api.call("GET", f"{cluster}/dbs/shop", 200))["db"] == body
        listed = (await api.call("GET", f"{cluster}/dbs", 200))["dbs"]
        assert listed == [{"name": "defaultdb"}, body]
        await api.call("DELETE", f"{cluster}/users/app", 204)
        assert (await api.call("GET", f"{cluster}/dbs/shop", 200))["db"] == {"name": "shop"}

    apis.run(scenario)


def test_an_owner_who_is_no_user_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        body = {"name": "shop", "cenote": {"owner": "nobody"}}
        said = await api.refusal("POST", f"{cluster}/dbs", 422, json=body)
        assert said == "cenote.owner: there is no user 'nobody' on this cluster."

    apis.run(scenario)
