"""Creating, resizing and moving a cluster wait a moment for the agent, as doctl polls at once, then late."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec.structs import replace

from cenote.api import Settings
from cenote.model.status_records import NodeStatus
from tests.support.api import BACKEND, Api, Apis
from tests.support.service import SMALLEST, calling, service
from tests.support.waiting import wait_until

PATIENT = Settings(wait_seconds=60, online_wait_seconds=60, host_id="here")
SHORT = Settings(wait_seconds=60, online_wait_seconds=0.2, host_id="here")
LARGE = {"size": "db-s-2vcpu-4gb", "num_nodes": 1}


async def arrive(api: Api, cluster: str) -> None:
    """Say, as an agent would, that the cluster is what it shall be."""
    await api.report(cluster)
    id = UUID(cluster.rpartition("/")[2])
    stored, status = api.store.cluster(id), api.store.status(id, "node-1")
    assert stored is not None
    assert status is not None
    wanted = stored.value
    there = replace(status, size=wanted.size, region=wanted.region, storage_mib=wanted.storage_mib)
    await api.write_report(id, there)


async def only_cluster(api: Api) -> str:
    """Wait until there is a cluster; return its path."""
    found = await api.store.wait(lambda: api.store.clusters(deleted=False) or None, 30)
    assert found is not None
    return f"/v2/databases/{found[0].value.id}"


async def created_and_online(api: Api) -> str:
    making = asyncio.create_task(api.call("POST", "/v2/databases", 201, json=BACKEND))
    cluster = await only_cluster(api)
    await arrive(api, cluster)
    made = (await making)["database"]
    assert made["status"] == "online"
    return cluster


def test_a_new_cluster_is_answered_when_it_is_online(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        making = asyncio.create_task(api.call("POST", "/v2/databases", 201, json=BACKEND))
        cluster = await only_cluster(api)
        assert (await api.call("GET", cluster, 200))["database"]["status"] == "creating"
        assert not making.done()
        await arrive(api, cluster)
        made = (await making)["database"]
        assert made["status"] == "online"
        assert made == (await api.call("GET", cluster, 200))["database"]

    apis.run(scenario, PATIENT, tries=False)


def test_a_new_cluster_that_takes_longer_is_answered_as_it_is(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.call("POST", "/v2/databases", 201, json=BACKEND))["database"]
        assert (made["status"], bool(made["connection"]["password"])) == ("creating", True)

    apis.run(scenario, SHORT, tries=False)


@pytest.mark.parametrize(
    ("call", "body"), [("resize", LARGE), ("migrate", {"region": "fra1"})], ids=["resize", "migrate"]
)
def test_a_resize_and_a_move_are_answered_when_they_are_done(apis: Apis, call: str, body: Any) -> None:
    async def scenario(api: Api) -> None:
        cluster = await created_and_online(api)
        changing = asyncio.create_task(api.call("PUT", f"{cluster}/{call}", 202, json=body))
        id = UUID(cluster.rpartition("/")[2])
        before = api.store.cluster(id)
        assert before is not None
        await api.store.wait(lambda: True if api.store.cluster(id) != before else None, 30)
        during = (await api.call("GET", cluster, 200))["database"]["status"]
        assert during == {"resize": "resizing", "migrate": "migrating"}[call]
        assert not changing.done()
        await arrive(api, cluster)
        await changing
        assert (await api.call("GET", cluster, 200))["database"]["status"] == "online"

    apis.run(scenario, PATIENT, tries=False)


def test_an_agent_that_fails_ends_the_wait(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        making = asyncio.create_task(api.call("POST", "/v2/databases", 201, json=BACKEND))
        cluster = await only_cluster(api)
        id = UUID(cluster.rpartition("/")[2])
        stored = api.store.cluster(id)
        assert stored is not None
        now = datetime.now(UTC)
        failed = NodeStatus(reached=0, tried=stored.revision, reason="the disk is full", failing=True, at=now)
        await api.write_report(id, failed)
        made = (await making)["database"]
        assert made["status"] == "creating"
        assert (made["cenote"]["failing"], made["cenote"]["reason"]) == (True, "the disk is full")

    apis.run(scenario, PATIENT, tries=False)


def test_a_cluster_that_is_deleted_meanwhile_ends_the_wait(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        making = asyncio.create_task(api.call("POST", "/v2/databases", 201, json=BACKEND))
        await api.call("DELETE", await only_cluster(api), 204)
        assert (await making)["database"]["status"] == "creating"

    apis.run(scenario, PATIENT, tries=False)


def test_doctl_finds_a_cluster_online_at_its_first_poll_if_it_can_be_at_all() -> None:
    with service() as running, calling(running) as http:
        for number in range(3):  # the first one has to make the template of the others
            began = time.monotonic()
            answer = http.post("/v2/databases", json={**SMALLEST, "name": f"backend-{number}"})
            waited = time.monotonic() - began
            path = f"/v2/databases/{answer.json()['database']['id']}"
            first = http.get(path).json()["database"]["status"]
            assert first == "online" or waited >= Settings().online_wait_seconds
            wait_until("it is online", 60, partial(_is_online, http, path))


def _is_online(http: httpx.Client, path: str) -> bool:
    return bool(http.get(path).json()["database"]["status"] == "online")
