"""Requests above a rate limit, over HTTP: held, told when to come back, and served in the end.

``burst_seconds`` makes the minute of a limit short; the tests of a service have the real one.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cenote.api import Settings
from tests.support.api import BACKEND, Api, Apis, running_apis
from tests.support.service import Service, online_cluster, service
from tests.support.terraform import Burst, burst

BURST = 1_300


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    yield from running_apis()


def limited(requests: int, seconds: float, *, per_hour: int = 0) -> Settings:
    return Settings(
        wait_seconds=0, requests_per_hour=per_hour, requests_per_minute=requests, burst_seconds=seconds
    )


def test_a_request_that_two_seconds_serve_is_answered_late_and_not_refused(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        answers = [await api.http.get("/v2/databases") for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 12
        left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
        assert left == list(range(99, 87, -1))

    apis.run(scenario, limited(4, 0.5, per_hour=100))


def test_a_held_request_keeps_its_body(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("GET", "/v2/databases", 200)
        created = await api.call("POST", "/v2/databases", 201, json=BACKEND)
        assert created["database"]["name"] == "backend"

    apis.run(scenario, limited(1, 0.5))


def test_many_at_once_are_held_each_for_a_slot_of_its_own(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        began = time.monotonic()
        served = [0.0]

        async def get() -> int:
            answer = await api.http.get("/v2/databases")
            served.append(time.monotonic() - began)
            return answer.status_code

        assert await asyncio.gather(*(get() for _ in range(20))) == [200] * 20
        for first, later in zip(sorted(served)[1:], sorted(served)[6:], strict=False):
            assert later - first > 0.4  # five in half a second

    apis.run(scenario, limited(5, 0.5))


def test_a_held_request_whose_client_leaves_takes_no_slot(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("GET", "/v2/databases", 200)
        leaving = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> Any:
            if not leaving.is_set():
                leaving.set()
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(0.2)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await api.app(_scope(api), receive, send)
        assert sent == []
        assert (await api.http.get("/v2/databases")).status_code == 200

    apis.run(scenario, limited(1, 1.9))


def test_a_long_body_of_a_held_request_is_not_collected(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        await api.call("GET", "/v2/databases", 200)
        asked: list[float] = []
        began = time.monotonic()

        async def receive() -> Any:
            asked.append(time.monotonic() - began)
            return {"type": "http.request", "body": b" " * 1000, "more_body": len(asked) < 5}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 400  # no JSON

        await api.app(_scope(api, "POST"), receive, send)
        assert len(asked) == 5
        assert [at > 0.3 for at in asked] == [False, True, True, True, True]

    apis.run(scenario, limited(1, 0.5))


def test_what_is_refused_comes_back_spread_and_is_served(apis: Apis) -> None:
    async def scenario(api: Api) -> None:
        outcome = await burst(api.http, [f"/v2/databases?page={n}" for n in range(1, 46)], clients=20)
        assert outcome.final == [200] * 45
        assert len(set(outcome.told)) > 2

    apis.run(scenario, limited(15, 5))


def _scope(api: Api, method: str = "GET") -> dict[str, Any]:
    authorization = api.http.headers["authorization"].encode()
    return {
        "type": "http",
        "method": method,
        "scheme": "https",
        "path": "/v2/databases",
        "query_string": b"",
        "headers": [(b"authorization", authorization)],
        "client": ("127.0.0.1", 1),
    }


# -- A workspace of Terraform, with a real service


async def refresh(running: Service, calls: int) -> Burst:
    """Make so many reads of a workspace, as fast as ten clients get answers."""
    variables = running.environment()
    async with httpx.AsyncClient(
        base_url=variables["DIGITALOCEAN_API_URL"],
        headers={"authorization": f"Bearer {variables['DIGITALOCEAN_TOKEN']}"},
        verify=ssl.create_default_context(cafile=variables["SSL_CERT_FILE"]),
        timeout=15,
    ) as http:
        cluster = (await http.get("/v2/databases")).json()["databases"][0]
        path = f"/v2/databases/{cluster['id']}"
        kinds = ["", "/users/doadmin", "/dbs/defaultdb", "/firewall", "/config", "/pools", "/users", "/ca"]
        return await burst(http, [f"{path}{kinds[n % len(kinds)]}?object={n // 8}" for n in range(calls)])


def test_a_terraform_like_burst_of_a_minute_is_served_at_once_on_loopback() -> None:
    with service() as running:
        with running.client() as client:
            online_cluster(client, "backend")
        outcome = asyncio.run(refresh(running, BURST))
    assert Counter(outcome.final) == {200: BURST}
    assert outcome.told == []
    assert sum(at < 60 for at in outcome.finished) > 250  # what a public service allows in a minute


def test_a_terraform_like_burst_is_served_in_the_end_under_the_limits_of_a_public_service() -> None:
    with service("--requests-per-hour=5000", "--requests-per-minute=250") as running:
        with running.client() as client:
            online_cluster(client, "backend")
        outcome = asyncio.run(refresh(running, 320))
    assert Counter(outcome.final) == {200: 320}
    assert 1 <= len(outcome.told) <= 40  # each client once or twice; the rest is held
    assert len(set(outcome.told)) > 1
