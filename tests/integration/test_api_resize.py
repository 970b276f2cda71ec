"""Resizing and migrating through the API, with a real store and without servers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from cenote.model import catalog
from tests.support.api import POOL, Api, Apis

SMALL, LARGE = "db-s-1vcpu-1gb", "db-s-2vcpu-4gb"


async def shown(api: Api, cluster: str) -> Any:
    return (await api.call("GET", cluster, 200))["database"]


async def idle_cluster(api: Api, **changes: Any) -> str:
    """Create a cluster whose agent has brought it to what is wanted."""
    cluster = await api.add_cluster(**changes)
    await arrive(api, cluster)
    return cluster


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


async def resize(api: Api, cluster: str, expected: int = 202, **changes: Any) -> Any:
    body = {"size": LARGE, "num_nodes": 1, **changes}
    return await api.call("PUT", f"{cluster}/resize", expected, json=body)


def test_a_cluster_is_resizing_from_the_answer_until_it_is_there(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        assert await resize(api, cluster) is None
        after = await shown(api, cluster)
        assert (after["status"], after["size"], after["storage_size_mib"]) == ("resizing", LARGE, 61440)
        await arrive(api, cluster)
        assert (await shown(api, cluster))["status"] == "online"

    apis.run(scenario)


def test_storage_that_is_asked_for_is_kept_and_otherwise_comes_with_the_size(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        for asked, expected in ((102400, 102400), (None, 61440)):
            await resize(api, cluster, storage_size_mib=asked)
            assert (await shown(api, cluster))["storage_size_mib"] == expected
            await arrive(api, cluster)

    apis.run(scenario)


def test_resizing_to_what_a_cluster_is_already_leaves_it_online(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        await resize(api, cluster, size=SMALL)
        assert (await shown(api, cluster))["status"] == "online"

    apis.run(scenario)


def test_a_size_that_is_too_small_for_the_pools_is_refused_with_the_numbers(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api, size=LARGE)
        await api.call("POST", f"{cluster}/pools", 201, json={**POOL, "size": 60})
        body = {"size": SMALL, "num_nodes": 1}
        message = await api.refusal("PUT", f"{cluster}/resize", 422, json=body)
        assert "need 60 connections" in message
        assert "22 are for pools" in message
        assert (await shown(api, cluster))["size"] == LARGE

    apis.run(scenario)


def test_a_size_that_is_too_small_for_the_configuration_is_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api, size="db-s-6vcpu-16gb")
        settings = {"max_connections": 500}
        await api.call("PATCH", f"{cluster}/config", 200, json={"config": settings})
        message = await api.refusal("PUT", f"{cluster}/resize", 422, json={"size": SMALL, "num_nodes": 1})
        assert message.startswith("max_connections: 500 is too large: size db-s-1vcpu-1gb takes up to 100.")

    apis.run(scenario)


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("resize", {"size": "huge"}, "size: 'huge' is not a size"),
    ("resize", {"num_nodes": 4}, "num_nodes: "),
    (
        "resize",
        {"storage_size_mib": 1024},
        "storage_size_mib: 1024 is out of range for size db-s-2vcpu-4gb: 61440",
    ),
    ("resize", {"size": None}, "Expected `str`, got `null` - at `$.size`"),
    ("resize", {"colour": 1}, "Object contains unknown field `colour`"),
    ("migrate", {"region": "mars1"}, "region: 'mars1' is not a region"),
    ("migrate", {"private_network_uuid": "x"}, "private_network_uuid: 'x' is not a UUID."),
]


@pytest.mark.parametrize(("call", "changes", "beginning"), REFUSALS)
def test_a_move_that_can_not_be_is_refused_with_the_reason(
    apis: Apis, call: str, changes: dict[str, Any], beginning: str
) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        bodies: dict[str, dict[str, Any]] = {
            "resize": {"size": LARGE, "num_nodes": 1},
            "migrate": {"region": "fra1"},
        }
        message = await api.refusal("PUT", f"{cluster}/{call}", 422, json=bodies[call] | changes)
        assert message.startswith(beginning)

    apis.run(scenario)


def test_a_cluster_on_its_way_is_not_sent_elsewhere(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        await resize(api, cluster)
        for call, body in (("resize", {"size": SMALL, "num_nodes": 1}), ("migrate", {"region": "fra1"})):
            message = await api.refusal("PUT", f"{cluster}/{call}", 412, json=body)
            assert message == "update cluster cannot be performed. Reason: cluster is resizing"

    apis.run(scenario)


def test_a_cluster_that_fails_on_its_way_can_be_sent_back(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        await resize(api, cluster)
        id = UUID(cluster.rpartition("/")[2])
        status = api.store.status(id, "node-1")
        assert status is not None
        await api.write_report(id, replace(status, failing=True, reason="PostgreSQL does not start"))
        await resize(api, cluster, size=SMALL)
        assert (await shown(api, cluster))["status"] == "online"

    apis.run(scenario)


def test_a_cluster_is_migrating_from_the_answer_until_it_is_there(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await idle_cluster(api)
        await api.call("PUT", f"{cluster}/migrate", 202, json={"region": "fra1", "private_network_uuid": ""})
        after = await shown(api, cluster)
        assert (after["status"], after["region"]) == ("migrating", "fra1")
        assert after["private_network_uuid"] == str(catalog.default_network("fra1"))
        await arrive(api, cluster)
        assert (await shown(api, cluster))["status"] == "online"

    apis.run(scenario)


def test_a_cluster_moves_into_a_network_of_the_region_that_it_moves_to(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        made = [{"name": region, "region": region} for region in ("nyc1", "fra1")]
        here, there = [(await api.call("POST", "/v2/vpcs", 201, json=one))["vpc"]["id"] for one in made]
        cluster = await idle_cluster(api, private_network_uuid=here)
        body = {"region": "fra1", "private_network_uuid": here}
        assert "not in fra1" in await api.refusal("PUT", f"{cluster}/migrate", 422, json=body)
        for asked, expected in ((there, there), ("", str(catalog.default_network("fra1")))):
            body = {"region": "fra1", "private_network_uuid": asked}
            await api.call("PUT", f"{cluster}/migrate", 202, json=body)
            assert (await shown(api, cluster))["private_network_uuid"] == expected
            await arrive(api, cluster)

    apis.run(scenario)
