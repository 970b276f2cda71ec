"""Requests that the client sends: retries, pagination, polling, rate limits."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cenote_client import (
    AsyncClient,
    Client,
    NetworkError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    Retry,
    ServerError,
    WaitTimeoutError,
)
from tests.support.clients import Driver, driving
from tests.support.recorder import Asked, Recorder, Reply, recorder, reply
from tests.support.waiting import wait_until

CLUSTER = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
POOL = {"name": "p", "mode": "session", "size": 1, "db": "defaultdb"}
AT_ONCE = Retry(first_wait=0.0)
KINDS: dict[str, type[Any]] = {"sync": Client, "asyncio": AsyncClient}
TOKEN = "dop_v1_0123456789abcdef"
BUSY = reply(503, b'{"id": "busy", "message": "later"}')
OK = reply(200, b'{"pool": {"name": "p"}}')
LOST = Reply(b"", ends=True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Any]:
    return KINDS[request.param]


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


@pytest.fixture
def driver(kind: type[Any], server: Recorder) -> Iterator[Driver]:
    with driving(kind(TOKEN, endpoint=server.address, retry=AT_ONCE)) as made:
        yield made


def get(driver: Driver, **call: Any) -> Any:
    return driver.finished(driver.client.databases.get_connection_pool(CLUSTER, "p", **call))


def add(driver: Driver) -> Any:
    return driver.finished(driver.client.databases.add_connection_pool(CLUSTER, POOL))


def methods(server: Recorder) -> list[str]:
    return [asked.method for asked in server.asked]


@pytest.mark.parametrize("failure", [BUSY, LOST, reply(502, b"bad"), Reply(OK.data[:-5], ends=True)])
def test_a_call_that_changes_nothing_twice_comes_again(
    server: Recorder, driver: Driver, failure: Reply
) -> None:
    server.answers(failure, failure, OK)
    assert get(driver) == {"pool": {"name": "p"}}
    assert methods(server) == ["GET"] * 3


@pytest.mark.parametrize("failure", [BUSY, reply(500, b"bad"), reply(504, b"late")])
def test_a_creation_does_not_come_again(server: Recorder, driver: Driver, failure: Reply) -> None:
    server.answers(failure, OK)
    with pytest.raises(ServerError):
        add(driver)
    assert methods(server) == ["POST"]


def test_a_creation_whose_answer_was_lost_does_not_come_again(server: Recorder, driver: Driver) -> None:
    server.answers(LOST, OK)
    with pytest.raises(NetworkError) as lost:
        add(driver)
    assert lost.value.reached
    assert methods(server) == ["POST"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_creation_comes_again_as_it_was_when_the_service_says_when(
    server: Recorder, driver: Driver, status: int
) -> None:
    server.answers(reply(status, b"", {"retry-after": "0"}), reply(201, b'{"pool": {}}'))
    assert add(driver) == {"pool": {}}
    first, second = server.asked
    assert first == second
    assert json.loads(second.body) == POOL


def test_an_idle_connection_that_the_service_has_closed_costs_nobody_a_creation(
    server: Recorder, driver: Driver
) -> None:
    server.answers(Reply(OK.data, ends=True), reply(201, b'{"pool": {}}'))
    get(driver)
    wait_until("the service has closed the connection", 10, lambda: server.ended == 1)
    assert add(driver) == {"pool": {}}
    assert methods(server) == ["GET", "POST"]


def test_the_last_answer_is_raised_when_the_tries_are_spent(server: Recorder, driver: Driver) -> None:
    server.answers(BUSY)
    with pytest.raises(ServerError, match="later") as busy:
        get(driver)
    assert busy.value.status == 503
    assert len(server.asked) == AT_ONCE.tries


def test_a_pause_beyond_the_budget_is_not_waited_for_but_told(server: Recorder, driver: Driver) -> None:
    server.answers(reply(429, b"", {"retry-after": "3600"}))
    with pytest.raises(RateLimitError) as limited:
        get(driver)
    assert limited.value.retry_after == 3600.0
    assert len(server.asked) == 1


def test_retries_are_off_by_one_parameter(server: Recorder, kind: type[Any]) -> None:
    server.answers(reply(429, b"", {"retry-after": "0"}))
    with driving(kind(TOKEN, endpoint=server.address, retry=None)) as driver, pytest.raises(RateLimitError):
        get(driver)
    assert len(server.asked) == 1


def test_a_repeat_is_logged_without_the_query_and_the_token(
    server: Recorder, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cenote_client")
    server.answers(BUSY, OK)
    get(driver, params={"password": "hunter2"})
    said = [record.getMessage() for record in caplog.records if record.name == "cenote_client"]
    assert said == [f"GET /v2/databases/{CLUSTER}/pools/p: 503 Service Unavailable; again in 0.0 s"]


def test_an_iterator_asks_for_page_after_page(server: Recorder, driver: Driver) -> None:
    def page(asked: Asked) -> Reply:
        number = int(httpx.QueryParams(asked.query)["page"])
        names = [{"name": f"p{number}{each}"} for each in "ab"][: 3 - number]
        return reply(200, json.dumps({"pools": names, "meta": {"total": 3}}).encode())

    server.answer = page
    found = driver.finished(driver.client.databases.iter_connection_pools(CLUSTER, per_page=2))
    assert [each["name"] for each in found] == ["p1a", "p1b", "p2a"]
    assert [asked.query for asked in server.asked] == ["page=1&per_page=2", "page=2&per_page=2"]


def test_an_iterator_asks_for_nothing_before_its_first_step(server: Recorder, driver: Driver) -> None:
    server.answers(reply(404, b'{"id": "not_found", "message": "cluster not found"}'))
    things = driver.client.databases.iter_users(CLUSTER)
    assert server.asked == []
    with pytest.raises(NotFoundError, match="cluster not found"):
        driver.finished(things)


def cluster_answer(status: str) -> Reply:
    return reply(200, json.dumps({"database": {"id": CLUSTER, "status": status}}).encode())


def test_waiting_ends_with_the_cluster_online_and_tells_of_every_look(
    server: Recorder, driver: Driver
) -> None:
    server.answers(cluster_answer("creating"), cluster_answer("creating"), cluster_answer("online"))
    told: list[tuple[str, float]] = []

    def progress(cluster: Any, seconds: float) -> None:
        told.append((cluster["status"], seconds))

    waited = driver.client.databases.wait_until_online(CLUSTER, timeout=60, progress=progress)
    assert driver.finished(waited) == {"id": CLUSTER, "status": "online"}
    assert [status for status, _ in told] == ["creating", "creating"]
    assert told[0][1] <= told[1][1]


def online_at(port: int, **seen: Any) -> Reply:
    """The answer about a cluster of a Cenote service, which listens on this port."""
    cluster = {
        "id": CLUSTER,
        "status": "online",
        "connection": {"host": "127.0.0.1", "port": port},
        "cenote": {"health": "healthy", "reason": ""} | seen,
    }
    return reply(200, json.dumps({"database": cluster}).encode())


def test_waiting_ends_when_the_port_of_the_cluster_answers(server: Recorder, driver: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server.answers(online_at(port))

        def answer() -> None:
            for said in (b"", b"S"):  # the first is closed without an answer
                connection, _ = listener.accept()
                with connection:
                    assert connection.recv(8) == bytes.fromhex("0000000804d2162f")
                    connection.sendall(said)

        answering = threading.Thread(target=answer)
        answering.start()
        waited = driver.client.databases.wait_until_online(CLUSTER, timeout=60)
        assert driver.finished(waited)["id"] == CLUSTER
        answering.join()
        assert len(server.asked) == 2
    with pytest.raises(WaitTimeoutError, match=rf"cannot be used \(127.0.0.1:{port}: .*refused"):
        driver.finished(driver.client.databases.wait_until_online(CLUSTER, timeout=0))


@pytest.mark.parametrize("health", ["starting", "down"])
def test_waiting_goes_on_while_the_service_says_that_a_cluster_cannot_be_used(
    server: Recorder, driver: Driver, health: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.answers(online_at(listener.getsockname()[1], health=health, reason="the disk is full"))
        with pytest.raises(WaitTimeoutError, match=rf"cannot be used \({health}: the disk is full\)"):
            driver.finished(driver.client.databases.wait_until_online(CLUSTER, timeout=0))


def test_waiting_in_vain_ends_with_what_was_seen_last(server: Recorder, driver: Driver) -> None:
    server.answers(cluster_answer("migrating"))
    with pytest.raises(WaitTimeoutError, match=f"cluster {CLUSTER} is migrating after 0 s") as waited:
        driver.finished(driver.client.databases.wait_until_online(CLUSTER, timeout=0))
    assert waited.value.last["status"] == "migrating"


def test_waiting_ends_when_the_cluster_is_gone_or_the_callback_fails(
    server: Recorder, driver: Driver
) -> None:
    def stop(cluster: Any, seconds: float) -> None:
        raise KeyError("enough")

    server.answers(cluster_answer("creating"))
    with pytest.raises(KeyError, match="enough"):
        driver.finished(driver.client.databases.wait_until_online(CLUSTER, progress=stop))
    server.answers(reply(404, b'{"id": "not_found", "message": "cluster not found"}'))
    with pytest.raises(NotFoundError):
        driver.finished(driver.client.databases.wait_until_online(CLUSTER))


def test_the_limit_is_the_one_of_the_last_answer_that_told_it(server: Recorder, driver: Driver) -> None:
    assert driver.client.rate_limit is None
    told = {"ratelimit-limit": "5000", "ratelimit-remaining": "4999", "ratelimit-reset": "1415984218"}
    server.answers(reply(200, b"{}", told), reply(200, b"{}", told | {"ratelimit-remaining": "many"}), OK)
    for _ in range(3):
        get(driver)
    assert driver.client.rate_limit == RateLimit(5000, 4999, 1415984218)


def test_any_path_can_be_called(server: Recorder, driver: Driver) -> None:
    server.answers(reply(201, b'["made"]'), reply(204))
    call = driver.client.request
    assert driver.finished(call("post", "/v2/tags?a=b", params={"c": 1}, json={"name": "x"})) == ["made"]
    assert driver.finished(call("DELETE", "/v2/tags/x")) is None
    first, second = server.asked
    assert (first.method, first.target, first.body) == ("POST", "/v2/tags?a=b&c=1", b'{"name": "x"}')
    assert (second.method, second.target, second.body) == ("DELETE", "/v2/tags/x", b"")
