"""What goes on in pools as it happens, what went on before, and advice, as a real service tells it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from cenote.api.pool_advice import AdviceView, PoolAdviceAnswer
from cenote.api.pool_history import PoolHistoryAnswer
from cenote.api.pool_stream import MAX_STREAMS, LiveView
from cenote_client import Client
from tests.support.api import Api, running_apis
from tests.support.events import Events, following
from tests.support.service import (
    WITHOUT_LIMITS,
    Service,
    added_pool,
    calling,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until, wait_until_async

pytestmark = pytest.mark.service(*WITHOUT_LIMITS)


@pytest.fixture
def cluster(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    id = str(online_cluster(client, f"c-{abs(hash(request.node.name)) % 10**9}")["id"])
    yield id
    with contextlib.suppress(Exception):
        client.request("DELETE", f"/v2/databases/{id}")


@contextlib.contextmanager
def crowd(uri: str, clients: int, query: bytes = b"SELECT pg_sleep(0.05)") -> Iterator[None]:
    """Clients that ask one question after the other."""
    ending = threading.Event()

    def ask() -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            while not ending.is_set():
                connection.execute(query)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def path_of(cluster: str) -> str:
    return f"/v2/databases/{cluster}/pool_stats/stream"


def samples(events: Events) -> Iterator[Any]:
    return (event for event in events if event.kind == "sample")


def test_a_stream_tells_of_clients_that_wait_and_of_the_room_that_is_left(
    client: Client, http: httpx.Client, cluster: str
) -> None:
    uri = added_pool(client, cluster, "web", size=2)["connection"]["uri"]
    with crowd(uri, 6), following(http, path_of(cluster)) as events:
        for event in samples(events):
            seen = msgspec.convert(event.data, LiveView)
            (pool,) = seen.pools
            if pool.clients_waiting and pool.transactions_per_second:
                break
        assert (pool.name, pool.size) == ("web", 2)
        assert pool.clients_waiting <= 4
        assert pool.servers_active <= 2
        connections = seen.connections
        assert (connections.all, connections.reserved, connections.left) == (25, 3, 20)
        assert connections.sessions is not None
        assert connections.sessions >= 2
        assert seen.busy is not None
        assert 0 <= seen.busy <= 1


def test_advice_to_grow_comes_on_the_stream_and_ends_with_the_waiting(
    running: Service, client: Client, http: httpx.Client, cluster: str
) -> None:
    uri = added_pool(client, cluster, "web", size=1)["connection"]["uri"]
    with crowd(uri, 4), following(http, path_of(cluster)) as events:
        for event in events:
            if event.kind == "advice" and any(one["kind"] == "grow" for one in event.data):
                break
        (advice,) = msgspec.convert(event.data, list[AdviceView])
        assert (advice.kind, advice.pool) == ("grow", "web")
        told = client.request("GET", f"/v2/databases/{cluster}/pool_advice")
        assert msgspec.convert(told, PoolAdviceAnswer).advice[0].kind == "grow"
        spoken = running.cenote("pool", "advice", cluster)
        assert spoken.startswith("web: On average ")
        assert f"cenote pool update {cluster} web --size {advice.actions[0].size}" in spoken
        rows = running.cenote("pool", "advice", cluster, "--output", "value", "--field", "severity")
        assert rows == "problem\n"
        size = advice.actions[0].size
        assert isinstance(size, int)
        wanted = {"mode": "transaction", "size": size, "db": "defaultdb"}
        client.request("PUT", f"/v2/databases/{cluster}/pools/web", json=wanted)
        for event in events:
            if event.kind == "advice" and event.data == []:
                break
        for event in samples(events):
            if event.data["pools"][0]["clients_waiting"] == 0:
                break


def test_the_past_has_what_was_streamed_and_fewer_points_when_asked(
    client: Client, http: httpx.Client, cluster: str
) -> None:
    added_pool(client, cluster, "web")
    with following(http, path_of(cluster)) as events:
        streamed = [event.data["at"] for _, event in zip(range(4), samples(events), strict=False)]
    path = f"/v2/databases/{cluster}/pool_history"
    (pool,) = msgspec.convert(client.request("GET", path), PoolHistoryAnswer).history.pools
    assert set(streamed) <= set(pool.at)
    assert len(pool.clients_waiting) == len(pool.at)
    (fewer,) = client.request("GET", path, params={"points": 2, "minutes": 5})["history"]["pools"]
    assert len(fewer["at"]) == 2
    minutes = client.request("GET", path, params={"minutes": 60})["history"]["pools"]
    msgspec.convert(minutes, list[Any])


@pytest.mark.parametrize("query", ["minutes=0", "minutes=1441", "minutes=x", "points=0", "points=²"])
def test_a_past_that_is_not_kept_is_refused(http: httpx.Client, cluster: str, query: str) -> None:
    answer = http.get(f"/v2/databases/{cluster}/pool_history?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["message"]


def test_pools_are_looked_at_when_nobody_watches(client: Client, cluster: str) -> None:
    added_pool(client, cluster, "web")

    def known() -> Any:
        path = f"/v2/databases/{cluster}/pool_history"
        return client.request("GET", path)["history"]["pools"][0]["at"]

    wait_until("the pool has a past", 60, known)


def test_who_comes_back_is_told_what_was_missed(client: Client, http: httpx.Client, cluster: str) -> None:
    added_pool(client, cluster, "web")
    with following(http, path_of(cluster)) as events:
        first, second, third = (event for _, event in zip(range(3), samples(events), strict=False))
    with following(http, path_of(cluster), last=first.id) as events:
        again = [event.id for _, event in zip(range(2), samples(events), strict=False)]
    assert again == [second.id, third.id]


def test_a_stream_ends_when_its_token_is_revoked(client: Client, http: httpx.Client, cluster: str) -> None:
    added_pool(client, cluster, "web")
    body = {"name": "short", "scopes": ["database:read"]}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]
    with following(http, path_of(cluster), token=token["token"]) as events:
        next(samples(events))
        client.request("DELETE", f"/v2/cenote/tokens/{token['id']}")
        *_, last = events
    assert last.kind == "end"
    assert last.data == {"reason": "Unable to authenticate you."}


def test_a_stream_ends_when_its_token_expires(client: Client, http: httpx.Client, cluster: str) -> None:
    added_pool(client, cluster, "web")
    expiry = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    body = {"name": "brief", "scopes": ["database:read"], "expires_at": expiry}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]["token"]
    with following(http, path_of(cluster), token=token) as events:
        *_, last = events
    assert last.kind == "end"


def test_a_stream_ends_when_its_cluster_is_deleted(client: Client, http: httpx.Client, cluster: str) -> None:
    added_pool(client, cluster, "web")
    with following(http, path_of(cluster)) as events:
        next(samples(events))
        client.request("DELETE", f"/v2/databases/{cluster}")
        *_, last = events
    assert last.kind == "end"
    assert "could not be found" in last.data["reason"]


def test_a_token_has_a_number_of_streams_which_are_free_again_when_left(
    client: Client, http: httpx.Client, cluster: str
) -> None:
    added_pool(client, cluster, "web")
    body = {"name": "many", "scopes": ["database:read"]}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]["token"]
    headers = {"authorization": f"Bearer {token}"}
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(following(http, path_of(cluster), token=token)) for _ in range(MAX_STREAMS)
        ]
        for events in streams:
            next(events)
        with http.stream("GET", path_of(cluster), headers=headers) as refused:
            assert refused.status_code == 429
            told = json.loads(refused.read())
        assert told["message"] == f"A token may have {MAX_STREAMS} streams at a time."

    def is_free() -> bool:
        with http.stream("GET", path_of(cluster), headers=headers) as answer:
            return answer.status_code == 200

    wait_until("a stream is free again", 20, is_free)


def test_calls_at_once_do_not_get_past_the_number_of_streams() -> None:
    async def scenario(api: Api) -> None:
        path = path_of((await api.add_cluster()).rpartition("/")[2])
        header = (await api.token("database:read"))["authorization"]
        leaving = asyncio.Event()

        async def follow(told: list[int]) -> None:
            async def receive() -> Any:
                await leaving.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                if message["type"] == "http.response.start":
                    told.append(message["status"])

            await api.app(get_scope(path, header), receive, send)

        for _ in range(2):  # when they have left there is room again
            told: list[int] = []
            following = [asyncio.create_task(follow(told)) for _ in range(3 * MAX_STREAMS)]
            await wait_until_async("all are answered", 20, lambda: len(told) == len(following))  # noqa: B023
            leaving.set()
            await asyncio.gather(*following)
            leaving.clear()
            assert (told.count(200), told.count(429)) == (MAX_STREAMS, 2 * MAX_STREAMS)

    for apis in running_apis():
        apis.run(scenario)


def get_scope(path: str, authorization: str) -> dict[str, Any]:
    """Return what a server hands an application for a GET."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"api.test"), (b"authorization", authorization.encode())],
        "server": ("api.test", 443),
        "client": ("192.0.2.1", 50_000),
        "state": {},
    }


def test_a_stream_without_the_scope_or_the_cluster_is_refused(http: httpx.Client, client: Client) -> None:
    body = {"name": "other", "scopes": ["database:create"]}
    token = client.request("POST", "/v2/cenote/tokens", json=body)["token"]["token"]
    nowhere = path_of("5c35c5d7-e577-4d21-9d3f-98c8cb9a0260")
    assert http.get(nowhere, headers={"authorization": f"Bearer {token}"}).status_code == 403
    assert http.get(nowhere).status_code == 404


def test_asking_for_the_head_of_a_stream_is_answered_at_once(http: httpx.Client, cluster: str) -> None:
    answer = http.head(path_of(cluster))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_service_that_ends_waits_for_no_stream() -> None:
    with service() as running, running.client() as client, calling(running) as http:
        cluster = online_cluster(client, "backend")["id"]
        added_pool(client, cluster, "web")
        with following(http, path_of(cluster)) as events:
            next(samples(events))
            assert running.end() == 0
            left = list(events)
        assert "end" not in {event.kind for event in left}  # which would keep a client from coming back


def test_an_event_is_json_on_one_line(http: httpx.Client, client: Client, cluster: str) -> None:
    added_pool(client, cluster, "web")
    with http.stream("GET", path_of(cluster)) as answer:
        lines = answer.iter_lines()
        while not next(lines).startswith("event: sample"):
            pass
        assert json.loads(next(lines).removeprefix("data: "))["pools"]
