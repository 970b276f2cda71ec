"""What goes on in a pool, as the API tells it of a real one."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest

from cenote.api.pool_stats import AllPoolStatsAnswer, PoolStatsAnswer
from cenote.errors import Unavailable
from cenote.host.observer import HostObserver
from cenote.model.paths import Layout
from cenote.model.records import Cluster, LogSource
from cenote.security.sealing import Sealer
from cenote.stats.observer import NO_OBSERVER
from cenote_client import Client
from cenote_client.errors import NotFoundError
from tests.support import records
from tests.support.api import POOL, Api, Apis
from tests.support.living import Living
from tests.support.service import added_pool, online_cluster
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def cluster(client: Client) -> str:
    return str(online_cluster(client, "backend")["id"])


def stats(client: Client, cluster: str, pool: str) -> Any:
    body = client.request("GET", f"/v2/databases/{cluster}/pools/{pool}/stats")
    msgspec.convert(body, PoolStatsAnswer)  # it is as described
    return body["stats"]


def test_an_unused_pool_has_no_clients_and_its_room_is_shown(client: Client, cluster: str) -> None:
    added_pool(client, cluster, "unused", size=4)
    found = stats(client, cluster, "unused")
    assert (found["name"], found["size"]) == ("unused", 4)
    assert found["clients"] == {"active": 0, "waiting": 0}
    assert found["since_start"]["transactions"] == 0
    room = found["cluster"]
    assert room["connections"] == 22  # what a size of 1 GiB has for pools
    assert room["allocated"] + room["left"] == 22
    client.request("DELETE", f"/v2/databases/{cluster}/pools/unused")


def test_working_idle_and_waiting_clients_are_told_apart(client: Client, cluster: str) -> None:
    uri = added_pool(client, cluster, "busy", size=1)["connection"]["uri"]
    with ExitStack() as stack:
        working, idle = (stack.enter_context(psycopg.connect(uri, autocommit=True)) for _ in range(2))
        idle.execute("SELECT 1")
        working.execute("BEGIN")
        waiting = psycopg.connect(uri, autocommit=True)
        stack.callback(waiting.close)  # its query has no answer yet, and leaving politely would wait for one
        waiting.pgconn.send_query(b"SELECT 1")
        waiting.pgconn.flush()

        def told() -> Any:
            found = stats(client, cluster, "busy")
            return found if found["clients"]["waiting"] == 1 and found["longest_wait_seconds"] > 0 else None

        found = wait_until("a client waits", 20, told)
        assert found["clients"] == {"active": 2, "waiting": 1}
        assert found["servers"] == {"active": 1, "idle": 0, "connecting": 0}
        working.execute("COMMIT")

    def all_gone() -> bool:
        return bool(stats(client, cluster, "busy")["clients"] == {"active": 0, "waiting": 0})

    wait_until("all clients have gone", 20, all_gone)


def test_queries_transactions_and_their_times_are_counted(client: Client, cluster: str) -> None:
    uri = added_pool(client, cluster, "counted")["connection"]["uri"]
    with psycopg.connect(uri) as connection:
        for _ in range(5):
            connection.execute("SELECT pg_sleep(0.02)")
            connection.commit()

    def told() -> Any:
        found = stats(client, cluster, "counted")
        return found if found["since_start"]["transactions"] == 5 else None

    found = wait_until("five transactions were counted", 20, told)
    assert found["since_start"]["queries"] >= 10  # BEGIN, SELECT, COMMIT
    assert found["since_start"]["received_bytes"] > 0
    assert found["since_start"]["sent_bytes"] > 0
    assert found["average_seconds"]["transaction"] >= 0.02
    assert 0 < found["average_seconds"]["query"] <= found["average_seconds"]["transaction"]
    assert found["period_seconds"] == 15


def test_all_pools_of_a_cluster_are_told_of_at_once(client: Client, cluster: str) -> None:
    added_pool(client, cluster, "one-of-all")
    path = f"/v2/databases/{cluster}/pools"
    wanted = [pool["name"] for pool in client.request("GET", path)["pools"]]
    body = client.request("GET", f"/v2/databases/{cluster}/pool_stats")
    msgspec.convert(body, AllPoolStatsAnswer)
    assert [one["name"] for one in body["stats"]] == wanted
    assert wanted
    for told in body["stats"]:
        assert told.keys() == stats(client, cluster, told["name"]).keys()


def test_a_pool_that_is_not_there_is_not_found(client: Client, cluster: str) -> None:
    with pytest.raises(NotFoundError):
        stats(client, cluster, "nowhere")


def host_of(folder: Path, *clusters: Cluster) -> HostObserver:
    return HostObserver(Layout(folder), Living(*clusters), "here")


def test_a_pooler_that_does_not_answer_is_no_defect_of_the_service(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    cluster = records.cluster(sealer, port=25060, version="16")
    with pytest.raises(Unavailable, match="does not answer"):
        asyncio.run(host_of(tmp_path, cluster).pools(cluster.id, "node-1"))


def test_a_node_of_another_host_or_of_no_cluster_is_no_empty_answer(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    here, there = (records.cluster(sealer, port=25060, version="16", host=host) for host in ("here", "there"))

    async def scenario() -> None:
        observer = host_of(tmp_path, here, there)
        for id, node in ((there.id, "node-1"), (here.id, "n2"), (uuid4(), "node-1")):
            with pytest.raises(Unavailable, match="not on the host"):
                await observer.logs(id, node, LogSource.POSTGRES, 10, "")
            with pytest.raises(Unavailable, match="not on the host"):
                await observer.history(id, node, 15)
            with pytest.raises(Unavailable, match="not on the host"):
                await anext(observer.samples(id, node, 0))

    asyncio.run(scenario())


def test_an_api_that_can_ask_no_host_says_so(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        path = f"{await api.add_cluster()}/pools"
        await api.call("POST", path, 201, json=POOL)
        await api.refusal("GET", f"{path}/{POOL['name']}/stats", 503)

    apis.run(scenario, observer=NO_OBSERVER)
