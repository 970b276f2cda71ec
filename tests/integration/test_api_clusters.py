"""What the API answers about clusters."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from cenote.api import Settings
from cenote.model.fleet_records import Host
from cenote.model.topology import writer_or_first
from tests.support.api import BACKEND, HOST, POOL, Api, Apis, announce

SENT_BY_GODO = {
    **BACKEND,
    "private_network_uuid": "",
    "project_id": "",
    "rules": None,
    "backup_restore": None,
    "tags": ["production"],
}


def test_a_new_cluster_is_creating_and_its_connection_stays(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        created = (await api.call("POST", "/v2/databases", 201, json=SENT_BY_GODO))["database"]
        assert created["status"] == "creating"
        assert created["connection"]["port"] == 25060
        path = f"/v2/databases/{created['id']}"
        await api.report(path)
        online = (await api.call("GET", path, 200))["database"]
        assert online["status"] == "online"
        assert online["cenote"].pop("since") >= online["created_at"]
        assert online["cenote"].pop("uris")["hosts"] == [
            {"host": "localhost", "port": 25060, "pool_port": 25061}
        ]
        assert online["cenote"] == {
            "health": "healthy",
            "reason": "",
            "failing": False,
            "host": "here",
            "delete_protection": False,
            "distinct_hosts": False,
        }
        for key in ("connection", "private_connection", "users", "created_at"):
            assert online[key] == created[key]

    apis.run(scenario)


def test_a_cluster_says_what_it_is_waiting_for(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.report(cluster, "the disk is full", failing=True)
        shown = (await api.call("GET", cluster, 200))["database"]
        assert shown["cenote"].pop("since") >= shown["created_at"]
        del shown["cenote"]["uris"]
        assert shown["cenote"] == {
            "health": "degraded",
            "reason": "the disk is full",
            "failing": True,
            "host": "here",
            "delete_protection": False,
            "distinct_hosts": False,
        }

    apis.run(scenario)


def test_a_cluster_has_every_field_in_the_type_that_strict_clients_decode(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        shown = (await api.call("POST", "/v2/databases", 201, json=SENT_BY_GODO))["database"]
        password = shown["connection"]["password"]
        uri = f"postgres://doadmin:{password}@localhost:25060/defaultdb?sslmode=require"
        assert shown["connection"] == {
            "protocol": "postgresql",
            "uri": uri,
            "database": "defaultdb",
            "host": "localhost",
            "port": 25060,
            "user": "doadmin",
            "password": password,
            "ssl": True,
        }
        assert shown["users"] == [{"name": "doadmin", "role": "primary", "password": password}]
        assert {key: shown[key] for key in BACKEND} == BACKEND
        assert shown["semantic_version"] == "15.18"
        assert (shown["db_names"], shown["tags"]) == (["defaultdb"], ["production"])
        assert shown["storage_size_mib"] == 10240
        assert shown["metrics_endpoints"] == [{"host": "localhost", "port": 25099}]
        window = shown["maintenance_window"]
        assert (window["pending"], window["description"]) == (False, [])
        for key in ("id", "project_id", "private_network_uuid"):
            assert str(UUID(shown[key])) == shown[key]
        for key in ("created_at", "version_end_of_life", "version_end_of_availability"):
            assert datetime.fromisoformat(shown[key]).microsecond == 0
        assert None not in shown.values()
        assert "settings" not in shown["users"][0]

    apis.run(scenario)


def test_without_a_version_a_cluster_gets_the_newest(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        body = {key: value for key, value in BACKEND.items() if key != "version"}
        shown = (await api.call("POST", "/v2/databases", 201, json=body))["database"]
        assert (shown["version"], shown["semantic_version"]) == ("16", "16.4")

    apis.run(scenario)


def test_a_cluster_has_its_full_version_while_its_host_is_away(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.hosts.popitem()[1].close()
        assert await api.store.wait(lambda: not api.store.hosts() or None, 10)
        assert (await api.call("GET", cluster, 200))["database"]["semantic_version"] == "15.18"
        listed = (await api.call("GET", "/v2/databases", 200))["databases"]
        assert [one["semantic_version"] for one in listed] == ["15.18"]

    apis.run(scenario)


def test_creating_a_cluster_does_not_wait_for_its_agent(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        before = time.monotonic()
        await api.add_cluster()
        assert time.monotonic() - before < 20  # a change would wait for 30

    apis.run(scenario, Settings(wait_seconds=30))


def test_clusters_get_pairs_of_ports_that_nobody_has(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        paths = await asyncio.gather(*(api.add_cluster(name=f"cluster-{number}") for number in range(8)))
        ports = sorted(
            [(await api.call("GET", path, 200))["database"]["connection"]["port"] for path in paths]
        )
        assert ports == [25060, 25064, 25066, 25068, 25070, 25072, 25074, 25076]

    busy = msgspec.structs.replace(HOST, busy_ports=(25063,))
    apis.run(scenario, hosts=(busy,))


def test_clusters_get_ports_for_metrics_from_the_other_end(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        paths = await asyncio.gather(*(api.add_cluster(name=f"cluster-{number}") for number in range(8)))
        clusters = [(await api.call("GET", path, 200))["database"] for path in paths]
        ports = sorted(endpoint["port"] for cluster in clusters for endpoint in cluster["metrics_endpoints"])
        assert ports == [25091, 25092, 25093, 25094, 25095, 25096, 25097, 25099]

    busy = msgspec.structs.replace(HOST, busy_ports=(25098,))
    apis.run(scenario, hosts=(busy,))


def test_a_host_without_free_ports_is_not_chosen_and_without_any_the_reason_is_told(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.add_cluster(name="first")
        await api.add_cluster(name="second")
        assert "port" in await api.refusal("POST", "/v2/databases", 412, json={**BACKEND, "name": "third"})

    small = [msgspec.structs.replace(HOST, id=name, name=name, last_port=25062) for name in ("one", "two")]
    apis.run(scenario, hosts=tuple(small))


def test_a_cluster_goes_to_the_host_with_the_most_memory_left_that_has_its_version(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for name, size in (("a", "db-s-6vcpu-16gb"), ("b", "db-s-1vcpu-1gb")):
            await api.add_cluster(name=f"cluster-{name}", size=size)
        placed = {stored.value.name: writer_or_first(stored.value).host for stored in api.store.clusters()}
        assert placed == {"cluster-a": "large", "cluster-b": "small"}

    large = msgspec.structs.replace(HOST, id="large", name="large", memory_mib=16384)
    small = msgspec.structs.replace(HOST, id="small", name="small", memory_mib=2048)
    other = Host(
        id="other",
        name="other",
        address="127.0.0.2",
        memory_mib=99999,
        cpus=1,
        versions={"14": "14.1"},
        first_port=25060,
        last_port=25079,
    )
    apis.run(scenario, hosts=(large, small, other))


def test_a_deleted_cluster_is_gone_and_its_name_is_free_when_the_answer_comes(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        await api.call("DELETE", cluster, 204)
        for path in ("", "/ca", "/pools", "/pools/backend-pool", "/users/doadmin", "/firewall", "/topics"):
            await api.refusal("GET", cluster + path, 404)
        await api.refusal("DELETE", cluster, 404)
        await api.refusal("POST", f"{cluster}/pools", 404, json=POOL)
        assert (await api.call("GET", "/v2/databases", 200))["databases"] == []
        await api.add_cluster()

    apis.run(scenario)


BEFORE_A_HOST_IS_THERE: list[tuple[str, str, Any]] = [
    ("POST", "/v2/databases", BACKEND),
    ("POST", "/v2/databases", {**BACKEND, "version": "99"}),
    ("GET", "/v2/databases/options", None),
]


@pytest.mark.parametrize(("method", "path", "body"), BEFORE_A_HOST_IS_THERE)
def test_before_a_host_has_announced_itself_nothing_is_offered_and_nothing_refused_for_good(
    apis: Apis, method: str, path: str, body: Any
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.http.request(method, path, json=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        message = "No host has announced itself yet; try again in a few seconds."
        assert answer.json()["message"] == message

    apis.run(scenario, hosts=())


def test_a_creation_and_the_options_wait_for_the_first_host_after_a_start(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        creating = asyncio.create_task(api.call("POST", "/v2/databases", 201, json=BACKEND))
        asking = asyncio.create_task(api.call("GET", "/v2/databases/options", 200))
        await asyncio.sleep(0.2)
        assert not creating.done()
        assert not asking.done()
        api.hosts[HOST.id] = await announce(api.store, api.store.client, HOST)
        await creating
        assert (await asking)["options"]["pg"]["versions"] == ["15", "16"]

    apis.run(scenario, Settings(wait_seconds=30), hosts=())
