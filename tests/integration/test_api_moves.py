"""Moving clusters by the API, without agents and without a controller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from msgspec.structs import replace

from cenote.api import auth, create_app
from cenote.errors import Unavailable
from cenote.model.event_records import Note
from cenote.model.records import MoveStage
from cenote.model.status_records import NodeStatus, Standby
from tests.support.api import AT_ONCE, HOST, Api, Apis
from tests.support.waiting import wait_until_async

A, B = (
    replace(HOST, id=f"host-{letter}", name=f"db-{letter}", memory_mib=64_000, fleet_address="h")
    for letter in "ab"
)
OLD = replace(A, id="host-c", name="db-c", versions={"16": "16.4"}, memory_mib=1)


async def placed(api: Api) -> str:
    """Create a cluster on host A that is online, and return its path."""
    path = await api.add_cluster(cenote={"host": "db-a"})
    await api.report(path)
    return path


def id_of(path: str) -> UUID:
    return UUID(path.rpartition("/")[2])


async def stage(api: Api, path: str, wanted: MoveStage) -> None:
    """Have the move get to a stage, as the controller would."""

    def change(cluster: Any) -> Any:
        return replace(cluster, move=replace(cluster.move, stage=wanted))

    await api.store.update_cluster(id_of(path), change)


def test_a_move_begins_at_once_and_is_shown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        before = (await api.call("GET", path, 200))["database"]
        assert before["cenote"]["host"] == "db-a"
        answer = await api.call("POST", f"{path}/move", 202, json={"host": "db-b"})
        move = answer["move"]
        assert (move["from"], move["to"], move["stage"]) == ("db-a", "db-b", "copying")
        assert move["reason"] == "host db-b begins to copy the data"
        after = (await api.call("GET", path, 200))["database"]
        assert after["cenote"]["move"] == move
        assert (after["num_nodes"], after["status"]) == (1, "online")
        assert after["connection"] == before["connection"]
        assert after["cenote"]["uris"] == before["cenote"]["uris"], "no pool of a server without writes"
        assert len(after["metrics_endpoints"]) == 1
        event = (await api.call("GET", f"{path}/events", 200))["events"][0]
        assert event["cenote"]["summary"] == "move: added (from db-a to db-b)"

    apis.run(scenario, hosts=(A, B))


def test_the_progress_of_a_copy_is_shown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        await api.call("POST", f"{path}/move", 202, json={})
        now = datetime.now(UTC)
        source = NodeStatus(reached=10**9, tried=10**9, at=now, used_mib=900)
        await api.hosts["host-a"].report(id_of(path), "node-1", source)
        copying = NodeStatus(reached=0, at=now, copied_mib=300, reason="the data is being copied")
        await api.hosts["host-b"].report(id_of(path), "node-2", copying)
        await api.store.wait(lambda: api.store.status(id_of(path), "node-2"), 10)
        move = (await api.call("GET", path, 200))["database"]["cenote"]["move"]
        assert (move["copied_mib"], move["data_mib"]) == (300, 900)
        follows = replace(source, standby=Standby(streaming=True, replayed=1))
        await api.hosts["host-b"].report(id_of(path), "node-2", follows)
        await api.store.wait(lambda: api.store.reports(id_of(path))["node-2"].standby, 10)
        move = (await api.call("GET", path, 200))["database"]["cenote"]["move"]
        assert move["reason"] == "its turn to be switched"

    apis.run(scenario, hosts=(A, B))


def test_a_report_of_a_test_is_not_taken_back_by_that_of_a_change(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        host, stored = api.hosts["host-a"], api.store.cluster(id_of(path))
        assert stored is not None
        source = NodeStatus(reached=10**9, at=datetime.now(UTC))
        reporting = asyncio.create_task(host.report(id_of(path), "node-1", source))
        await asyncio.sleep(0)  # it is on its way
        await host.tried(stored.value, "node-1", stored.revision + 1)
        await reporting

        def found() -> bool:
            seen = api.store.status(id_of(path), "node-1")
            return seen is not None and (seen.reached, seen.tried) == (10**9, stored.revision + 1)

        await wait_until_async("both are there", 10, found)

    apis.run(scenario, hosts=(A, B), tries=False)


def test_a_move_is_cancelled_until_the_new_host_has_taken_over(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        assert "not being moved" in await api.refusal("DELETE", f"{path}/move", 422)
        await api.call("POST", f"{path}/move", 202, json={})
        assert "being moved already" in await api.refusal("POST", f"{path}/move", 412, json={})
        await api.call("DELETE", f"{path}/move", 204)
        assert "move" not in (await api.call("GET", path, 200))["database"]["cenote"]
        assert "still removes a former node" in await api.refusal(
            "POST", f"{path}/move", 412, json={"host": "db-b"}
        )

    apis.run(scenario, hosts=(A, B))

    async def late(api: Api) -> None:
        path = await placed(api)
        await api.call("POST", f"{path}/move", 202, json={})
        await stage(api, path, MoveStage.LEAVING)
        assert "Move it back instead" in await api.refusal("DELETE", f"{path}/move", 412)
        found = (await api.call("GET", path, 200))["database"]
        assert (found["cenote"]["host"], found["status"]) == ("db-b", "online")

    apis.run(late, hosts=(A, B))


def test_a_move_that_cannot_be_is_refused_in_words(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        move = f"{path}/move"
        for host, status, words in (
            ("db-x", 422, "host: there is no host named 'db-x'."),
            ("db-a", 422, "host: the cluster is on db-a already."),
            ("db-c", 422, "host: db-c has no PostgreSQL 15."),
        ):
            assert await api.refusal("POST", move, status, json={"host": host}) == words
        await api.store.host_changes.drain("host-b", datetime.now(UTC), Note(what="drain"))
        assert "db-b is being drained" in await api.refusal("POST", move, 412, json={"host": "db-b"})
        assert "No host takes new clusters now" in await api.refusal("POST", move, 412, json={})
        slots = NodeStatus(reached=1, at=datetime.now(UTC), logical_slots=("debezium",))
        await api.write_report(id_of(path), slots)
        assert "Drop them first: debezium." in await api.refusal("POST", move, 422, json={})

    apis.run(scenario, hosts=(A, B, OLD))


class SilentHosts:
    """Claims of ports on hosts of which some are up and do not answer."""

    def __init__(self, *silent: str) -> None:
        self._silent = silent

    async def claim(self, _cluster_id: UUID, host_id: str, _ports: Iterable[int]) -> frozenset[int]:
        if host_id in self._silent:
            raise Unavailable(f"The agent of {host_id} does not answer.")
        return frozenset()

    async def release(self, _cluster_id: UUID, _host_id: str) -> None:
        pass


def test_another_host_is_chosen_when_one_does_not_answer(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        def with_silent(*silent: str) -> httpx.AsyncClient:
            app = create_app(api.store, api.rings, AT_ONCE, ports=SilentHosts(*silent))
            transport = httpx.ASGITransport(app)
            return httpx.AsyncClient(
                transport=transport, base_url="https://api.test", headers=api.http.headers
            )

        path = await placed(api)
        async with with_silent("host-b", "host-d") as http:
            answer = await http.post(f"{path}/move", json={})
            assert answer.status_code == 503, answer.text
            assert "does not answer" in answer.json()["message"]
        async with with_silent("host-b") as http:
            answer = await http.post(f"{path}/move", json={})
            assert answer.status_code == 202, answer.text
            assert answer.json()["move"]["to"] == "db-d"

    apis.run(scenario, hosts=(A, B, replace(B, id="host-d", name="db-d")))


def test_a_drained_host_says_what_cannot_be_moved(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        await api.store.host_changes.drain("host-a", datetime.now(UTC), Note(what="drain"))
        slots = NodeStatus(reached=1, at=datetime.now(UTC), logical_slots=("debezium",))
        await api.write_report(id_of(path), slots)
        hosts = (await api.call("GET", "/v2/cenote/hosts", 200))["hosts"]
        [reason] = [host["reason"] for host in hosts if host["name"] == "db-a"]
        assert reason.startswith("draining, 0 of 1 moved; backend cannot be moved: A cluster with logical")

    apis.run(scenario, hosts=(A, B))


def test_a_cluster_that_is_not_online_is_not_moved(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await api.add_cluster(cenote={"host": "db-a"})
        assert "cluster is creating" in await api.refusal("POST", f"{path}/move", 412, json={})

    apis.run(scenario, hosts=(A, B))


def test_moves_need_the_scope_of_administrators(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        header = await api.token(auth.UPDATE)
        await api.refusal("POST", f"{path}/move", 403, json={}, headers=header)
        await api.refusal("DELETE", f"{path}/move", 403, headers=header)

    apis.run(scenario, hosts=(A, B))


def test_what_a_cluster_is_asked_for_is_changed_also_while_it_moves(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = await placed(api)
        await api.call("POST", f"{path}/move", 202, json={})
        pool = {"name": "backend-pool", "user": "doadmin", "size": 10, "db": "defaultdb", "mode": "session"}
        await api.call("POST", f"{path}/pools", 201, json=pool)
        await api.call("PUT", f"{path}/resize", 202, json={"size": "db-s-1vcpu-2gb", "num_nodes": 1})
        await api.call("DELETE", path, 204)
        await api.call("GET", path, 404)
        stored = api.store.cluster(id_of(path))
        assert stored is not None
        assert len(stored.value.nodes) == 2, "both hosts are to remove it"

    apis.run(scenario, hosts=(A, B))
