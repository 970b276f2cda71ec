"""What the API refuses, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cenote.api import Settings
from tests.support.api import BACKEND, POOL, Api, Apis

GONE = "/v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
NOT_PUBLIC = (
    ("GET", "/v2/databases"),
    ("POST", "/v2/databases"),
    ("GET", f"{GONE}/pools/backend-pool"),
    ("DELETE", f"{GONE}/pools/backend-pool"),
    ("GET", "/v2/databases/options"),
    ("GET", "/v2/cenote/tokens"),
    ("GET", "/v2/droplets"),
    ("GET", "/nothing"),
)


CLUSTER_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Back_end"}, "name: "),
    ({"engine": "mysql"}, "operation is not supported for this cluster type"),
    ({"engine": "advanced_pg"}, "operation is not supported for this cluster type"),
    ({"engine": "sqlite"}, "engine: "),
    ({"version": "99"}, "invalid cluster engine version"),
    ({"size": "huge"}, "size: "),
    ({"region": "mars1"}, "region: "),
    ({"num_nodes": 4}, "num_nodes: "),
    ({"num_nodes": "1"}, "Expected `int`, got `str` - at `$.num_nodes`"),
    ({"name": None}, "Expected `str`, got `null` - at `$.name`"),
    ({"tags": ["a b"]}, "tags: "),
    ({"tags": "a"}, "Expected `array | null`, got `str` - at `$.tags`"),
    ({"storage_size_mib": 1}, "storage_size_mib: "),
    ({"project_id": "x"}, "project_id: "),
    ({"private_network_uuid": "x"}, "private_network_uuid: "),
    ({"rules": [{"type": "ip_addr", "value": "192.168.1.256"}]}, "rules[0].value: "),
    ({"backup_restore": {"database_name": "x"}}, "backup_restore.database_name: there is no cluster named"),
    (
        {"backup_restore": {"database_name": 1}},
        "Expected `str`, got `int` - at `$.backup_restore.database_name`",
    ),
    (
        {"backup_restore": {"database_name": "x", "backup_created_at": "noon"}},
        "backup_restore.backup_created_at: 'noon' is not a time",
    ),
    (
        {"storage_autoscale": {"enabled": True, "threshold_percent": 99}},
        "threshold_percent: 99 is out of range",
    ),
    ({"autoscale": {"storage": {"enabled": True, "increment_gib": 1}}}, "increment_gib: 1 is out of range"),
    ({"do_settings": {"service_cnames": ["db"]}}, "service_cnames: 'db' is not a host name"),
    ({"colour": "red"}, "Object contains unknown field `colour`"),
    # Nothing that a client sends is told to a terminal that would obey it.
    ({"\x9b31m\x1b[0m\u202e": 1}, r"Object contains unknown field `\x9b31m\x1b[0m\u202e`"),
    (
        {"autoscale": {"storage": {"colour": 1}}},
        "Object contains unknown field `colour` - at `$.autoscale.storage`",
    ),
]


@pytest.mark.parametrize(("changes", "beginning"), CLUSTER_REFUSALS)
def test_a_cluster_that_can_not_be_made_is_refused_with_the_reason(
    apis: Apis, changes: dict[str, Any], beginning: str
) -> None:
    async def scenario(api: Api) -> None:
        message = await api.refusal("POST", "/v2/databases", 422, json={**BACKEND, **changes})
        assert message.startswith(beginning)
        assert api.store.clusters() == []

    apis.run(scenario)


@pytest.mark.parametrize("field", sorted(BACKEND.keys() - {"version"}))
def test_a_field_that_a_cluster_needs_is_named_when_it_is_missing(apis: Apis, field: str) -> None:
    async def scenario(api: Api) -> None:
        body = {name: value for name, value in BACKEND.items() if name != field}
        message = await api.refusal("POST", "/v2/databases", 422, json=body)
        assert message == f"Object missing required field `{field}`"

    apis.run(scenario)


def test_a_second_cluster_of_a_name_is_refused_in_the_words_that_clients_know(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster()
        message = await api.refusal("POST", "/v2/databases", 422, json=BACKEND)
        assert message == "cluster name is not available"

    apis.run(scenario)


POOL_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"name": "x" * 64}, "name: "),
    ({"name": "a\nb = c"}, "name: "),
    ({"name": "%include"}, "name: "),
    ({"name": "pgbouncer"}, "name: "),
    ({"name": "*"}, "name: "),
    ({"size": 23}, "size: 23 is too large: 22 of 22 connections are left"),
    ({"size": 0}, "size: "),
    ({"size": "10"}, "Expected `int`, got `str` - at `$.size`"),
    ({"size": 1.5}, "Expected `int`, got `float` - at `$.size`"),
    ({"size": True}, "Expected `int`, got `bool` - at `$.size`"),
    ({"mode": "quick"}, "mode: "),
    ({"db": "nothing"}, "db: there is no database 'nothing'"),
    ({"user": "nobody"}, "user: there is no user 'nobody'"),
    ({"users": []}, "Object contains unknown field `users`"),
]


@pytest.mark.parametrize(("changes", "beginning"), POOL_REFUSALS)
def test_a_pool_that_can_not_be_made_is_refused_with_the_reason(
    apis: Apis, changes: dict[str, Any], beginning: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        message = await api.refusal("POST", f"{cluster}/pools", 422, json={**POOL, **changes})
        assert message.startswith(beginning)
        assert (await api.call("GET", f"{cluster}/pools", 200))["pools"] == []

    apis.run(scenario)


def test_repeating_a_create_is_refused_in_the_words_that_clients_know(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for path, body, message in (
            ("pools", POOL, "pool name is not available"),
            ("users", {"name": "app"}, "user name is not available"),
            ("dbs", {"name": "orders"}, "database name is not available"),
        ):
            await api.call("POST", f"{cluster}/{path}", 201, json=body)
            assert await api.refusal("POST", f"{cluster}/{path}", 422, json=body) == message

    apis.run(scenario)


def test_what_every_cluster_has_and_what_a_pool_uses_can_not_be_deleted(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/users", 201, json={"name": "app"})
        await api.call("POST", f"{cluster}/dbs", 201, json={"name": "orders"})
        await api.call("POST", f"{cluster}/pools", 201, json={**POOL, "user": "app", "db": "orders"})
        for path in ("users/doadmin", "dbs/defaultdb"):
            assert "can't be deleted" in await api.refusal("DELETE", f"{cluster}/{path}", 422)
        for path in ("users/app", "dbs/orders"):
            assert "backend-pool" in await api.refusal("DELETE", f"{cluster}/{path}", 422)

    apis.run(scenario)


@pytest.mark.parametrize(
    "body", [b"{", b"nonsense", b"{'a': 1}", b"\xff\xfe", b'{"name": "\\ud800"}', b"", b" \n"]
)
def test_a_body_that_is_no_json_is_a_bad_request(apis: Apis, body: bytes) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        answer = await api.call("POST", f"{cluster}/pools", 400, content=body)
        assert answer["id"] == "bad_request"
        assert "JSON" in answer["message"]

    apis.run(scenario)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"'])
def test_a_body_that_is_json_of_another_kind_is_told_what_is_expected(apis: Apis, body: bytes) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        assert "Expected `object`" in await api.refusal("POST", f"{cluster}/pools", 422, content=body)

    apis.run(scenario)


def test_a_deeply_nested_body_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = b'{"rules": [{"created_at": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
        await api.call("POST", "/v2/databases", 400, content=body)

    apis.run(scenario)


def test_a_body_that_is_too_large_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        async def in_pieces() -> Any:
            for _ in range(20):
                yield b" " * 1000

        for content in (b" " * 20_000, in_pieces()):
            answer = await api.call("POST", "/v2/databases", 413, content=content)
            assert answer["id"] == "request_entity_too_large"

    apis.run(scenario, Settings(wait_seconds=0, max_body_bytes=10_000))


def test_calls_without_a_body_take_an_empty_one_that_is_called_json(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        headers = {"content-type": "application/json"}
        await api.call("POST", f"{cluster}/users/doadmin/reset_auth", 200, headers=headers, content=b"")
        await api.call("POST", f"{cluster}/users/doadmin/reset_auth", 200, json={})
        await api.call("DELETE", cluster, 204, headers=headers, content=b"")

    apis.run(scenario)


SUB_PATHS = (
    "",
    "/ca",
    "/pools",
    "/pools/backend-pool",
    "/users",
    "/users/doadmin",
    "/dbs",
    "/dbs/defaultdb",
    "/config",
    "/firewall",
    "/replicas",
    "/replicas/x",
    "/backups",
    "/events",
    "/topics",
    "/logsink/x",
    "/schema-registry/config",
)


@pytest.mark.parametrize(
    "cluster", [GONE, "/v2/databases/this-cluster-id-does-not-exist", "/v2/databases/{x}"]
)
def test_everything_of_an_unknown_cluster_is_not_found(apis: Apis, cluster: str) -> None:
    async def scenario(api: Api) -> None:
        for path in SUB_PATHS:
            message = await api.refusal("GET", cluster + path, 404)
            assert message == "The resource you requested could not be found."
        await api.refusal("DELETE", cluster, 404)
        await api.refusal("POST", f"{cluster}/pools", 404, json=POOL)
        await api.refusal("POST", f"{cluster}/users", 404, json={"name": "app"})
        await api.refusal("POST", f"{cluster}/dbs", 404, json={"name": "orders"})
        await api.refusal("PUT", f"{cluster}/resize", 404, json={"size": "db-s-1vcpu-2gb", "num_nodes": 1})

    apis.run(scenario)


def test_other_spellings_of_an_id_are_not_the_id(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        id = (await api.add_cluster()).rpartition("/")[2]
        for spelling in (id.replace("-", ""), f"{{{id}}}", f"urn:uuid:{id}"):
            await api.refusal("GET", f"/v2/databases/{spelling}", 404)

    apis.run(scenario)


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/databases/x/y/z", "/v3", "/v2/droplets", "/nothing", "//v2/databases/x"]
)
def test_an_unknown_path_is_not_found(apis: Apis, path: str) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.call("GET", path, 404))["id"] == "not_found"

    apis.run(scenario)


def test_a_sub_path_that_no_cluster_has_is_not_found(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for path in ("/nothing", "/pools/a/b", "/replicas/x/pools", "/pools/nothing", "/users/x", "/dbs/x"):
            await api.refusal("GET", cluster + path, 404)

    apis.run(scenario)


def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.http.patch(f"{GONE}/pools/x", json={})
        assert answer.status_code == 405
        assert answer.json()["id"] == "method_not_allowed"
        assert {"GET", "PUT", "DELETE"} <= set(answer.headers["allow"].split(", "))
        options = await api.http.options(f"{GONE}/pools/x")
        assert options.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"

    apis.run(scenario)


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=-1", "per_page=201", "per_page=0", "per_page=1.5", "page=", "page=²"]
)
def test_a_page_that_can_not_be_is_refused(apis: Apis, query: str) -> None:
    async def scenario(api: Api) -> None:
        message = await api.refusal("GET", f"/v2/databases?{query}", 422)
        assert message.startswith(("page: ", "per_page: "))

    apis.run(scenario)


def test_calls_for_other_engines_are_refused_in_the_words_that_clients_know(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        for method, path in (
            ("GET", "topics"),
            ("PUT", "sql_mode"),
            ("GET", "eviction_policy"),
            ("GET", "indexes"),
        ):
            message = await api.refusal(method, f"{cluster}/{path}", 422)
            assert message == "operation is not supported for this cluster type"

    apis.run(scenario)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic wrong", "Bearer \xe9"]
)
def test_whoever_shows_no_good_token_is_not_let_in(apis: Apis, header: str | None) -> None:
    async def scenario(api: Api) -> None:
        del api.http.headers["authorization"]
        headers = {} if header is None else {"authorization": header.encode("latin-1")}
        for method, path in NOT_PUBLIC:
            answer = await api.call(method, path, 401, headers=headers)
            assert answer["id"] == "unauthorized"
            assert answer["message"] == "Unable to authenticate you."

    apis.run(scenario)


def test_a_token_is_good_until_it_expires_or_is_revoked(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        now = datetime.now(UTC)
        await api.call(
            "GET", "/v2/databases", 200, headers=await api.token("*", expires_at=now + timedelta(hours=1))
        )
        await api.call("GET", "/v2/databases", 401, headers=await api.token("*", expires_at=now))
        made = await api.call(
            "POST", "/v2/cenote/tokens", 201, json={"name": "ci", "scopes": ["database:read"]}
        )
        headers = {"authorization": f"Bearer {made['token']['token']}"}
        await api.call("GET", "/v2/databases", 200, headers=headers)
        await api.call("DELETE", f"/v2/cenote/tokens/{made['token']['id']}", 204)
        await api.call("GET", "/v2/databases", 401, headers=headers)

    apis.run(scenario)


def test_every_token_may_see_itself_and_not_its_text(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        wanted = {"name": "ci", "scopes": ["database:update", "database:create"]}
        made = (await api.call("POST", "/v2/cenote/tokens", 201, json=wanted))["token"]
        headers = {"authorization": f"Bearer {made.pop('token')}"}
        assert (await api.call("GET", "/v2/cenote/token", 200, headers=headers))["token"] == made

    apis.run(scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scopes": ["*"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["database:fly"]},
        {"name": "a\nb", "scopes": ["*"]},
        {"name": "x", "scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "scopes": ["*"], "expires_at": "2999-01-01T00:00:00"},
        {"name": "x", "scopes": ["*"], "expires_at": ""},
    ],
)
def test_a_token_that_makes_no_sense_is_refused(apis: Apis, body: dict[str, Any]) -> None:
    async def scenario(api: Api) -> None:
        await api.refusal("POST", "/v2/cenote/tokens", 422, json=body)
        await api.refusal("DELETE", "/v2/cenote/tokens/x", 404)

    apis.run(scenario)
