"""What many clusters do at a glance, the hosts, and clusters found by a part of their name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg

from cenote.model.timing import Timing
from cenote.stats.observer import Observer, PoolNumbers
from tests.support.api import HOST, POOL, Api, Apis
from tests.support.service import Service, added_pool, calling, online_cluster
from tests.support.waiting import wait_until

ACTIVITY = "/v2/cenote/activity"


# -- Activity


def test_what_goes_on_in_the_pools_of_a_cluster_is_told(running: Service) -> None:
    with running.client() as client, calling(running) as http:
        busy, idle = online_cluster(client, "busy")["id"], online_cluster(client, "idle")["id"]
        pool = added_pool(client, busy, "busy-pool", size=1)

        def numbers() -> dict[str, object]:
            told = http.get(ACTIVITY, params={"cluster_uuids": f"{busy},{idle}"}).json()["activity"]
            assert [one["cluster_uuid"] for one in told] == [busy, idle]
            nothing = {"connections": {"used": 0, "allowed": 22}, "clients": 0, "waiting": 0}
            assert told[1]["numbers"] == nothing | {"transactions_per_second": 0.0}
            found: dict[str, object] = told[0]["numbers"]
            return found

        with psycopg.connect(pool["connection"]["uri"]) as one:
            one.execute("SELECT 1")  # keeps the only server connection until its transaction ends
            seen = wait_until(
                "the connection is told", 30, lambda: (found := numbers())["clients"] == 1 and found
            )
        assert isinstance(seen, dict)
        assert seen["connections"] == {"used": 1, "allowed": 22}


def test_a_pooler_that_does_not_answer_is_told_as_unknown(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)
        id = cluster.rpartition("/")[2]
        told = await api.call("GET", ACTIVITY, 200, params={"cluster_uuids": id})
        assert told == {"activity": [{"cluster_uuid": id, "numbers": None}]}

    apis.run(scenario)


class Pooler:
    """The other side of the observer's interface: a pooler that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.answering = asyncio.Event(), asyncio.Event()

    async def pools(self, _: UUID, node: str) -> Mapping[str, PoolNumbers]:
        self.asked += 1
        self.begun.set()
        await self.answering.wait()
        return {str(POOL["name"]): PoolNumbers(clients_active=3)}

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"activity asks for {name}")


def test_whoever_looks_at_the_same_time_shares_one_question(apis: Apis) -> None:
    pooler = Pooler()

    async def scenario(api: Api) -> None:
        cluster = await api.add_cluster()
        await api.call("POST", f"{cluster}/pools", 201, json=POOL)

        async def clients() -> int:
            asked = {"cluster_uuids": cluster.rpartition("/")[2]}
            [told] = (await api.call("GET", ACTIVITY, 200, params=asked))["activity"]
            found: int = told["numbers"]["clients"]
            return found

        looking = [asyncio.create_task(clients()) for _ in range(5)]
        await pooler.begun.wait()
        looking.pop(0).cancel()  # who goes away, whose question it may be
        pooler.answering.set()
        assert await asyncio.gather(*looking) == [3] * 4
        assert await clients() == 3
        assert pooler.asked == 1

    timing = Timing(activity_timeout=60, activity_max_age=60)
    apis.run(scenario, observer=cast(Observer, pooler), timing=timing)


def test_clusters_that_are_not_there_are_left_out_and_too_many_are_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        told = await api.call("GET", ACTIVITY, 200, params={"cluster_uuids": f"{uuid4()},x,,"})
        assert told == {"activity": []}
        assert await api.call("GET", ACTIVITY, 200) == {"activity": []}
        many = ",".join(str(uuid4()) for _ in range(101))
        refusal = await api.refusal("GET", ACTIVITY, 422, params={"cluster_uuids": many})
        assert refusal == "cluster_uuids: at most 100 clusters are allowed, not 101."

    apis.run(scenario)


# -- Hosts


def test_a_host_tells_what_it_has_and_what_of_it_is_promised(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for name in ("one", "two"):
            await api.add_cluster(name=f"cluster-{name}", size="db-s-2vcpu-4gb")
        [host] = (await api.call("GET", "/v2/cenote/hosts", 200))["hosts"]
        assert (
            host.items()
            >= {
                "id": HOST.id,
                "name": HOST.name,
                "address": HOST.address,
                "cpus": HOST.cpus,
                "memory_mib": HOST.memory_mib,
                "promised_memory_mib": 2 * 4096,
                "promised_storage_mib": 2 * 60 * 1024,
                "clusters": 2,
                "versions": HOST.versions,
                "ports": {"first": HOST.first_port, "last": HOST.last_port, "claimed": 6, "busy": 0},
            }.items()
        )

    apis.run(scenario)


# -- Clusters by a part of their name


def test_clusters_are_found_by_a_part_of_their_name(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        for name in ("shop-live", "shop-test", "wiki"):
            await api.add_cluster(name=name)

        async def names(part: str, **more: int) -> list[str]:
            found = await api.call("GET", "/v2/databases", 200, params={"name": part, **more})
            return sorted(one["name"] for one in found["databases"])

        assert await names("shop") == ["shop-live", "shop-test"]
        assert await names("SHOP-T") == ["shop-test"]
        assert await names("nothing") == []
        assert len(await names("")) == 3
        pages = [await names("shop", page=number, per_page=1) for number in (1, 2)]
        assert sorted(pages) == [["shop-live"], ["shop-test"]]

    apis.run(scenario)
