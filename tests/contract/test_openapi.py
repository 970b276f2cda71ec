"""Every answer fits the reference's schema and our own, and ours describes the routes that there are."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from cenote.api import Settings
from cenote.api.app import OPERATIONS
from cenote.stats.observer import NO_OBSERVER
from tests.support.api import BACKEND, HOST, POOL, Api, Apis
from tests.support.reference import ADDITIONS, METHODS, Operation, Reference, faults

pytestmark = pytest.mark.long

REFUSED = 422
NOT_HERE = ("reject", "not_found")  # unsupported operations


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


ROUTES: dict[Operation, str] = {(route.method.value, route.path): route.name for route in OPERATIONS}


async def tour(api: Api) -> None:
    """Call every operation that is done here, so that it succeeds."""
    call = api.call
    await call("GET", "/v2/databases/options", 200)
    cluster = await api.add_cluster(tags=["one"])
    await api.report(cluster)
    await call("GET", "/v2/databases", 200, params={"tag_name": "one", "page": 1, "per_page": 1})
    await call("GET", cluster, 200)
    await call("GET", f"{cluster}/ca", 200)

    await call("POST", f"{cluster}/users", 201, json={"name": "app"})
    await call("GET", f"{cluster}/users", 200)
    await call("GET", f"{cluster}/users/app", 200)
    await call("PUT", f"{cluster}/users/app", 201, json={"settings": {}})
    await call("POST", f"{cluster}/users/app/reset_auth", 200, json={})

    await call("POST", f"{cluster}/dbs", 201, json={"name": "orders"})
    await call("GET", f"{cluster}/dbs", 200)
    await call("GET", f"{cluster}/dbs/orders", 200)

    await call("POST", f"{cluster}/pools", 201, json=POOL)
    await call("GET", f"{cluster}/pools", 200)
    await call("GET", f"{cluster}/pools/backend-pool", 200)
    changed = {"mode": "session", "size": 2, "db": "orders", "user": ""}
    await call("PUT", f"{cluster}/pools/backend-pool", 204, json=changed)

    await call("PUT", f"{cluster}/firewall", 204, json={"rules": [{"type": "ip_addr", "value": "192.0.2.1"}]})
    await call("GET", f"{cluster}/firewall", 200)

    await call("PATCH", f"{cluster}/config", 200, json={"config": {"work_mem": 8, "pgbouncer": {}}})
    await call("GET", f"{cluster}/config", 200)

    own = {"do_settings": {"service_cnames": ["db.example.com"]}}
    await call("PUT", f"{cluster}/do_settings", 204, json=own)
    await call("GET", f"{cluster}/do_settings", 200)

    larger = {"size": "db-s-1vcpu-2gb", "num_nodes": 1}
    await call("PUT", f"{cluster}/resize", 202, json=larger)
    await api.report(cluster)
    await call("PUT", f"{cluster}/migrate", 202, json={"region": "ams3"})
    await api.report(cluster)
    await call("PUT", f"{cluster}/maintenance", 204, json={"day": "tuesday", "hour": "14:00"})
    await call("PUT", f"{cluster}/install_update", 204)
    await call("GET", f"{cluster}/events", 200)

    wanted = {"storage": {"enabled": True, "threshold_percent": 80, "increment_gib": 10}}
    await call("PUT", f"{cluster}/autoscale", 204, json=wanted)
    await call("GET", f"{cluster}/autoscale", 200)
    await call("GET", "/v2/databases/metrics/credentials", 200)
    login = {"basic_auth_username": "prometheus", "basic_auth_password": "correct-horse"}
    await call("PUT", "/v2/databases/metrics/credentials", 204, json={"credentials": login})
    rsyslog = {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"}
    sink = {"sink_name": "logs", "sink_type": "rsyslog", "config": rsyslog}
    made = (await call("POST", f"{cluster}/logsink", 201, json=sink))["sink"]["sink_id"]
    await call("GET", f"{cluster}/logsink", 200)
    await call("GET", f"{cluster}/logsink/{made}", 200)
    await call("PUT", f"{cluster}/logsink/{made}", 200, json={"config": rsyslog | {"format": "rfc3164"}})
    await call("DELETE", f"{cluster}/logsink/{made}", 200)

    replica = {"name": "reports", "size": "db-s-1vcpu-2gb", "region": "fra1", "tags": ["two"]}
    id = (await call("POST", f"{cluster}/replicas", 201, json=replica))["replica"]["id"]
    await call("GET", f"{cluster}/replicas", 200)
    await api.report(f"/v2/databases/{id}")
    await call("GET", f"{cluster}/replicas/reports", 200)
    await call("GET", f"/v2/databases/{id}", 200)
    await call("PUT", f"{cluster}/replicas/reports/promote", 204)
    await call("DELETE", f"{cluster}/replicas/reports", 204)

    await call("DELETE", f"{cluster}/pools/backend-pool", 204)
    await call("DELETE", f"{cluster}/dbs/orders", 204)
    await call("DELETE", f"{cluster}/users/app", 204)
    await call("DELETE", cluster, 204)


async def neighbours(api: Api) -> None:
    """Call what the reference's databases stand in (tags, projects, networks, the account), and additions."""
    call = api.call
    await call("GET", "/v2/account", 200)
    await call("GET", "/v2/cenote/keys", 200)
    await call("POST", "/v2/cenote/keys/rotate", 202)
    vpc = (await call("POST", "/v2/vpcs", 201, json={"name": "inner", "region": "nyc1"}))["vpc"]["id"]
    project = (await call("POST", "/v2/projects", 201, json={"name": "shop"}))["project"]["id"]
    cluster = await api.add_cluster(private_network_uuid=vpc, project_id=project, tags=["one"])
    id = cluster.rpartition("/")[2]
    await call("GET", f"/v2/projects/{project}/resources", 200)
    await api.refusal("DELETE", f"/v2/projects/{project}", 412)
    await api.refusal("DELETE", f"/v2/vpcs/{vpc}", 409)
    await call("POST", "/v2/projects/default/resources", 200, json={"resources": [f"do:dbaas:{id}"]})
    await call("POST", f"{cluster}/pools", 201, json=POOL)
    await call("POST", f"{cluster}/pools/backend-pool/reconnect", 200)
    await api.report(cluster)
    await api.refusal("POST", f"{cluster}/move", 412, json={})
    await api.refusal("DELETE", f"{cluster}/move", 422)
    await api.refusal("GET", f"{cluster}/recover", 412)
    await api.refusal("POST", f"{cluster}/recover", 412, json={})
    await api.refusal("POST", f"{cluster}/switchover", 422, json={})
    await api.refusal("DELETE", f"{cluster}/switchover", 422)
    await api.refusal("PUT", f"{cluster}/upgrade", 422, json={"version": "1"})
    await api.refusal("POST", f"{cluster}/upgrade/rehearsal", 422, json={"version": "1"})
    source = {"host": "192.0.2.1", "port": 5432, "username": "app", "password": "secret"}
    await api.refusal("PUT", f"{cluster}/online-migration", 503, json={"source": source})
    await api.refusal("GET", f"{cluster}/online-migration", 404)
    await api.refusal("DELETE", f"{cluster}/online-migration/{UUID(int=1)}", 404)
    await api.refusal("POST", f"{cluster}/online-migration/{UUID(int=1)}/finish", 404)
    await api.refusal("GET", f"{cluster}/backups", 422)
    await api.refusal("POST", f"{cluster}/backups", 422)
    await api.refusal("POST", f"{cluster}/backups/drills", 422)
    await call("PUT", f"{cluster}/delete_protection", 204, json={"enabled": True})
    await api.refusal("DELETE", cluster, 422)
    await call("PUT", f"{cluster}/delete_protection", 204, json={"enabled": False})
    await call("PUT", f"{cluster}/undelete_days", 204, json={"days": 3})
    await call("GET", cluster, 200)
    await call("PUT", f"{cluster}/undelete_days", 204, json={"days": None})
    await call("PATCH", f"/v2/projects/{project}", 200, json={"purpose": "Web Application"})
    await call("PUT", f"/v2/projects/{project}", 200, json={"name": "store", "is_default": False})
    await call("PATCH", "/v2/projects/default", 200, json={"name": "first"})
    await call("GET", "/v2/projects", 200)
    await call("GET", "/v2/projects/default", 200)
    await call("GET", f"/v2/vpcs/{vpc}/members", 200)
    await call("DELETE", f"/v2/projects/{project}", 204)

    await call("POST", "/v2/tags", 201, json={"name": "two"})
    resources = {"resources": [{"resource_id": id, "resource_type": "database"}]}
    await call("POST", "/v2/tags/two/resources", 204, json=resources)
    await call("GET", "/v2/tags", 200)
    await call("GET", "/v2/tags/two", 200)
    await call("DELETE", "/v2/tags/two/resources", 204, json=resources)
    await call("DELETE", "/v2/tags/one", 204)

    await call("DELETE", cluster, 204)
    await call("GET", "/v2/vpcs", 200)
    await call("GET", f"/v2/vpcs/{vpc}", 200)
    await call("PUT", f"/v2/vpcs/{vpc}", 200, json={"description": "for the shop"})
    await call("PATCH", f"/v2/vpcs/{vpc}", 200, json={"name": "outer"})
    await call("DELETE", f"/v2/vpcs/{vpc}", 204)


async def refusals(api: Api) -> None:
    """Be refused in every way that a client can be."""
    cluster = await api.add_cluster()
    await api.report(cluster)
    await api.refusal("GET", cluster, 401, headers={"authorization": "Bearer wrong"})
    await api.refusal("GET", cluster, 403, headers=await api.token("database:create"))
    await api.refusal("GET", "/v2/databases/no-such-cluster", 404)
    await api.refusal("GET", f"{cluster}/pools/no-such-pool", 404)
    await api.refusal("POST", f"{cluster}/pools", 400, content=b"{")
    await api.refusal("POST", f"{cluster}/pools", 422, json={**POOL, "size": 10_000})
    await api.refusal("POST", "/v2/databases", 422, json={**BACKEND, "engine": "mysql"})
    await api.refusal("POST", "/v2/databases", 413, content=b" " * 2_000_000)
    for (method, route), name in ROUTES.items():
        if name in NOT_HERE:
            path = route.replace("/v2/databases/{database_cluster_uuid}", cluster)
            path = re.sub(r"\{\w+\}", "some", path)
            await api.refusal(method, path, 404 if name == "not_found" else REFUSED)


@contextlib.contextmanager
def overheard(api: Api, listener: Callable[[httpx.Response, Any], None]) -> Iterator[None]:
    """Hand every answer that the API gives to a listener, with its JSON."""

    async def listen(answer: httpx.Response) -> None:
        content = await answer.aread()
        listener(answer, answer.json() if content else None)

    api.http.event_hooks = {"response": [listen]}
    try:
        yield
    finally:
        api.http.event_hooks = {}


@pytest.mark.parametrize("scenario", [tour, refusals], ids=["answers", "refusals"])
def test_every_answer_fits_the_reference(apis: Apis, reference: Reference, scenario: Any) -> None:
    found: list[str] = []

    def listen(answer: httpx.Response, body: Any) -> None:
        request = answer.request
        operation = reference.operation(request.method, request.url.path)
        assert operation is not None, f"{request.method} {request.url.path} is not in the reference"
        wrong = reference.faults(operation, answer.status_code, body)
        found.extend(f"{' '.join(operation)} {answer.status_code}: {fault}" for fault in wrong)

    async def listened(api: Api) -> None:
        with overheard(api, listen):
            await scenario(api)

    apis.run(listened)
    assert found == []


@pytest.mark.parametrize("scenario", [tour, neighbours, refusals], ids=["answers", "neighbours", "refusals"])
def test_every_answer_fits_our_own_description(apis: Apis, scenario: Any) -> None:
    found: list[str] = []

    async def listened(api: Api) -> None:
        document = await api.call("GET", "/openapi.json", 200)

        def listen(answer: httpx.Response, body: Any) -> None:
            method, path = answer.request.method.lower(), answer.request.url.path
            route = described(document, method, path)
            wrong = own_faults(document, document["paths"][route][method], answer.status_code, body)
            found.extend(f"{method} {route} {answer.status_code}: {fault}" for fault in wrong)

        with overheard(api, listen):
            await scenario(api)

    apis.run(listened)
    assert found == []


def test_a_spent_limit_fits_the_reference(apis: Apis, reference: Reference) -> None:
    async def scenario(api: Api) -> None:
        await api.call("GET", "/v2/databases", 200)
        body = await api.call("GET", "/v2/databases", 429)
        assert reference.faults(("GET", "/v2/databases"), 429, body) == []

    apis.run(scenario, Settings(wait_seconds=0, requests_per_minute=1))


def test_the_tour_calls_every_operation_that_is_done_here(apis: Apis) -> None:
    """Whoever adds an operation adds its call to ``tour``."""
    called: set[Operation] = set()

    async def listened(api: Api) -> None:
        document = await api.call("GET", "/openapi.json", 200)

        def listen(answer: httpx.Response, _: Any) -> None:
            method = answer.request.method
            called.add((method, described(document, method.lower(), answer.request.url.path)))

        with overheard(api, listen):
            await tour(api)
            await neighbours(api)

    apis.run(listened)
    done_here = {one for one, name in ROUTES.items() if name not in NOT_HERE}
    assert {one for one in done_here - called - ADDITIONS if not one[1].startswith("/v2/cenote")} == set()


def test_the_routes_are_those_of_the_reference(reference: Reference) -> None:
    ours = {one for one in ROUTES if one[1].startswith("/v2/databases")}
    assert ours - ADDITIONS == set(reference.operations())


def test_the_description_has_each_route_and_no_other(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        document = await api.call("GET", "/openapi.json", 200)
        told = {(m.upper(), path) for path, entry in document["paths"].items() for m in entry}
        assert told == {*ROUTES, ("GET", "/healthz"), ("GET", "/metrics")}
        for path, entry in document["paths"].items():
            answer = await api.http.options(re.sub(r"\{\w+\}", "some", path))
            allowed = set(answer.headers["allow"].split(", ")) - {"OPTIONS", "HEAD"}
            assert {method.upper() for method in entry} <= allowed, path

    apis.run(scenario)


def test_refusals_that_only_some_operations_know_are_described(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        paths = (await api.call("GET", "/openapi.json", 200))["paths"]
        one = "/v2/databases/{database_cluster_uuid}"
        cluster = await api.add_cluster()  # of which nobody has reported, so it is busy
        for method, path, refused, body in (
            ("put", "/resize", 412, {"size": "db-s-1vcpu-2gb", "num_nodes": 1}),
            ("put", "/migrate", 412, {"region": "ams3"}),
            ("get", "/pool_stats", 503, None),
            ("get", "/logs", 503, None),
            ("get", "/pool_history", 503, None),
            ("get", "/pool_advice", 503, None),
        ):
            await api.refusal(method.upper(), cluster + path, refused, json=body)
            assert str(refused) in paths[one + path][method]["responses"]

    apis.run(scenario, observer=NO_OBSERVER)


def test_that_no_cluster_has_room_any_more_is_described(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster()
        told = await api.refusal("POST", "/v2/databases", 412, json={**BACKEND, "name": "another"})
        assert told.startswith("Every port on every host is taken")
        paths = (await api.call("GET", "/openapi.json", 200))["paths"]
        assert "412" in paths["/v2/databases"]["post"]["responses"]

    apis.run(scenario, hosts=(msgspec.structs.replace(HOST, last_port=HOST.first_port + 2),))


def test_the_description_is_sound(apis: Apis) -> None:
    """Every schema is one, every reference leads somewhere, every parameter of a path is described."""

    async def scenario(api: Api) -> None:
        document = await api.call("GET", "/openapi.json", 200)
        assert document["openapi"].startswith("3.1.")
        assert document["info"]["title"]
        for schema in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
        for pointer in references(document):
            assert at(document, pointer) is not None, pointer
        names = []
        for path, entry in document["paths"].items():
            assert set(entry) <= set(METHODS)
            for one in entry.values():
                names.append(one["operationId"])
                inside = {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
                assert inside == set(re.findall(r"\{(\w+)\}", path)), path
                assert all(response["description"] for response in one["responses"].values())
        assert len(names) == len(set(names))
        links = list(linked(document))
        assert links
        for target, given in links:
            path = next(path for path, entry in document["paths"].items() if target in operation_ids(entry))
            assert set(given) <= set(re.findall(r"\{(\w+)\}", path)), (target, path)

    apis.run(scenario)


def linked(document: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Return each link: the operation that it leads to, and the parameters that it gives."""
    for entry in document["paths"].values():
        for one in entry.values():
            for response in one["responses"].values():
                for link in response.get("links", {}).values():
                    yield link["operationId"], link["parameters"]


def operation_ids(entry: Any) -> set[str]:
    return {one["operationId"] for one in entry.values()}


def described(document: Any, method: str, path: str) -> str:
    """Return the path of the description that a call's path is; a literal one goes before a parameter."""
    for route in sorted(document["paths"], key=lambda route: route.count("{")):
        if method in document["paths"][route] and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path):
            return str(route)
    raise AssertionError(f"{method} {path} is not described")


def own_faults(document: Any, one: Any, status: int, body: Any) -> list[str]:
    response = one["responses"].get(str(status))
    if response is None:
        return ["this status is not described"]
    if "content" not in response:
        return [] if body is None else ["there is a body, and none is described"]
    schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
    # A body may be left out where nothing of it is required.
    found = {} if body is None else body
    return faults(Draft202012Validator(schema, format_checker=FormatChecker()), found)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def at(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#/").split("/"):
        document = document.get(part) if isinstance(document, dict) else None
    return document
