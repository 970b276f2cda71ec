"""The API of a service whose watch is held back: a 404, a 401 and a 422 are confirmed by etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from msgspec.structs import replace

from cenote.api import auth
from cenote.api.app import create_app
from cenote.api.service import Settings
from cenote.model.paths import Layout
from cenote.model.records import Pool
from cenote.model.status_records import NodeStatus
from cenote.security.throttle import MAX_FAILURES
from cenote.store import Store, cache
from tests.support.api import BACKEND, HOST, Api, BareHost, announced, rings
from tests.support.etcd import Proxy, bare_cluster, opened_store, private_etcd, proxy
from tests.support.waiting import wait_until_async

Scenario = Callable[[Api, Api, Proxy], Awaitable[None]]


async def api_of(store: Store, folder: Path, http: httpx.AsyncClient, app: Any) -> Api:
    api = Api(store, {}, rings(folder), http, app)
    http.headers.update(await api.token("*"))
    return api


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    """Run a test with two APIs on one etcd; the cache of the second one is stale."""

    def on(store: Store) -> tuple[httpx.AsyncClient, Any]:
        # httpx and Starlette give the same protocol types of their own.
        observer = BareHost(Layout(tmp_path), store, HOST.id)
        app = cast(Any, create_app(store, rings(tmp_path), Settings(wait_seconds=0), observer))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api.test"), app

    async def whole(scenario: Scenario) -> None:
        async with (
            private_etcd() as etcd,
            proxy(etcd) as between,
            opened_store(etcd) as current,
            opened_store(between) as stale,
            announced(current, current.client, HOST) as agent,
        ):
            (first, first_app), (second, second_app) = on(current), on(stale)
            async with first, second:
                one = await api_of(current, tmp_path, first, first_app)
                other = await api_of(stale, tmp_path, second, second_app)
                one.hosts[HOST.id] = agent
                await wait_until_async("both are current", 10, lambda: stale.revision >= current.revision)
                monkeypatch.setattr(cache, "SEEN_SECONDS", 0.05)
                between.holds_watches = True
                await scenario(one, other, between)

    return lambda scenario: asyncio.run(whole(scenario))


def test_what_another_service_has_made_is_found(run: Callable[[Scenario], None]) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        cluster = await current.add_cluster(tags=["one"])
        await stale.call("GET", cluster, 200)
        pool = {"name": "web", "mode": "transaction", "size": 2, "db": "defaultdb", "user": "doadmin"}
        await current.call("POST", f"{cluster}/pools", 201, json=pool)
        await stale.call("GET", f"{cluster}/pools/web", 200)
        await stale.refusal("GET", f"{cluster}/pools/none", 404)
        await stale.refusal("GET", f"/v2/databases/{uuid4()}", 404)
        await stale.call("GET", "/v2/tags/one", 200)
        vpc = (await current.call("POST", "/v2/vpcs", 201, json={"name": "v", "region": "nyc1"}))["vpc"]["id"]
        await stale.call("GET", f"/v2/vpcs/{vpc}", 200)
        project = (await current.call("POST", "/v2/projects", 201, json={"name": "p"}))["project"]["id"]
        urn = f"do:dbaas:{(await current.add_cluster(name='second')).rpartition('/')[2]}"
        assigned = await stale.call(
            "POST", f"/v2/projects/{project}/resources", 200, json={"resources": [urn]}
        )
        assert assigned["resources"][0]["status"] == "assigned"

    run(scenario)


def test_a_cluster_is_made_in_a_project_and_with_a_name_that_only_etcd_knows_of(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        project = (await current.call("POST", "/v2/projects", 201, json={"name": "p"}))["project"]["id"]
        await stale.call("POST", "/v2/databases", 201, json={**BACKEND, "project_id": project})
        message = await current.refusal("POST", "/v2/databases", 422, json=BACKEND)
        assert message == "cluster name is not available"

    run(scenario)


def test_a_pool_that_is_changed_back_to_what_the_stale_cache_holds_is_changed(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        between.holds_watches = False
        cluster = bare_cluster("a", 25060)
        pool = Pool(name="web", database="defaultdb", size=5)
        await current.store.add_cluster(replace(cluster, pools=(pool,)))
        assert await stale.store.wait(lambda: stale.store.cluster(cluster.id), 10)
        between.holds_watches = True
        path = f"/v2/databases/{cluster.id}/pools/web"
        for api, size in ((current, 10), (stale, 5)):
            body = {"mode": "transaction", "size": size, "db": "defaultdb", "user": ""}
            await api.call("PUT", path, 204, json=body)

        def pools_of_five() -> bool | None:
            stored = current.store.cluster(cluster.id)
            return (stored is not None and stored.value.pools[0].size == 5) or None

        assert await current.store.wait(pools_of_five, 10)

    run(scenario)


def test_a_token_that_another_service_has_made_is_good_and_few_unknown_ones_reach_etcd(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        header = await current.token("database:read")
        await stale.call("GET", "/v2/databases", 200, headers=header)
        asked = []
        for _ in range(MAX_FAILURES + 5):
            before = between.requests
            unknown = {"authorization": f"Bearer {auth.mint('x', ['*'])[0].reveal()}"}
            await stale.refusal("GET", "/v2/databases", 401, headers=unknown)
            await stale.refusal("GET", "/v2/databases", 401, headers={"authorization": "Bearer short"})
            asked.append(between.requests - before)
        # Refused calls are noted in the background, so a few requests more may have been counted.
        assert all(asked[: MAX_FAILURES - 1])
        assert sum(asked[-4:]) <= 2

    run(scenario)


def test_a_cluster_is_busy_only_if_etcd_has_no_report_that_it_is_done(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        between.holds_watches = False
        cluster = await current.add_cluster()
        id = UUID(cluster.rpartition("/")[2])
        assert await stale.store.wait(lambda: stale.store.cluster(id), 10)
        between.holds_watches = True
        resize = {"size": "db-s-2vcpu-4gb", "num_nodes": 1}
        message = await stale.refusal("PUT", f"{cluster}/resize", 412, json=resize)
        assert "cluster is creating" in message
        await current.report(cluster)
        status = current.store.status(id, "node-1")
        assert status is not None
        there = replace(status, size="db-s-1vcpu-1gb", region="nyc1", storage_mib=10240)
        await current.write_report(id, there)
        await stale.call("PUT", f"{cluster}/resize", 202, json=resize)

    run(scenario)


def test_storage_shrinks_only_to_what_the_last_report_leaves_room_for(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        between.holds_watches = False
        cluster = await current.add_cluster(storage_size_mib=102400)
        id = UUID(cluster.rpartition("/")[2])

        def report(used_mib: int) -> NodeStatus:
            stored = current.store.cluster(id)
            assert stored is not None
            return NodeStatus(
                reached=stored.revision,
                at=stored.value.created_at,
                size="db-s-1vcpu-1gb",
                region="nyc1",
                storage_mib=102400,
                used_mib=used_mib,
            )

        await current.write_report(id, report(60_000))
        assert await stale.store.wait(lambda: stale.store.status(id, "node-1"), 10)
        between.holds_watches = True
        smaller = {"size": "db-s-1vcpu-1gb", "num_nodes": 1, "storage_size_mib": 40960}
        await stale.refusal("PUT", f"{cluster}/resize", 422, json=smaller)
        await current.write_report(id, replace(report(100), at=report(0).at + timedelta(seconds=1)))
        await stale.call("PUT", f"{cluster}/resize", 202, json=smaller)

    run(scenario)


def test_activity_leaves_out_no_cluster_that_etcd_has(run: Callable[[Scenario], None]) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        id = (await current.add_cluster()).rpartition("/")[2]
        asked = {"cluster_uuids": f"{id},{uuid4()},none"}
        told = await stale.call("GET", "/v2/cenote/activity", 200, params=asked)
        assert [one["cluster_uuid"] for one in told["activity"]] == [id]

    run(scenario)


def test_the_audit_trail_of_a_cluster_is_etcds(run: Callable[[Scenario], None]) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        id = (await current.add_cluster()).rpartition("/")[2]
        told = await stale.call("GET", "/v2/cenote/audit", 200, params={"cluster_uuid": id})
        assert [one["what"] for one in told["entries"]] == ["POST /v2/databases"]
        assert len((await stale.call("GET", f"/v2/databases/{id}/events", 200))["events"]) == 1

    run(scenario)


def test_ports_are_taken_only_if_etcd_says_so(run: Callable[[Scenario], None]) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        between.holds_watches = False
        await current.hosts[HOST.id].announce(replace(HOST, last_port=HOST.first_port + 2))
        id = UUID((await current.add_cluster(name="first")).rpartition("/")[2])
        assert await stale.store.wait(lambda: stale.store.cluster(id), 10)
        between.holds_watches = True
        await stale.refusal("POST", "/v2/databases", 412, json=BACKEND)
        await current.call("DELETE", f"/v2/databases/{id}", 204)
        await current.store.forget_cluster(id)
        await stale.call("POST", "/v2/databases", 201, json=BACKEND)

    run(scenario)


def test_reads_that_find_something_ask_etcd_for_nothing(run: Callable[[Scenario], None]) -> None:
    async def scenario(current: Api, stale: Api, between: Proxy) -> None:
        cluster = await current.add_cluster()
        await stale.call("GET", cluster, 200)
        before = between.requests
        for _ in range(50):
            await stale.call("GET", cluster, 200)
            await stale.call("GET", f"{cluster}/users/doadmin", 200)
            await stale.call("GET", "/v2/databases", 200)
        assert between.requests == before

    run(scenario)
