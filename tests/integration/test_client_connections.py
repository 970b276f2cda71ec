"""Connections of the client: timeouts, proxies, certificates, keep-alive."""

from __future__ import annotations

import asyncio
import gc
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cenote.security import certificates
from cenote_client import (
    AsyncClient,
    Client,
    NetworkError,
    NetworkTimeoutError,
    UsageError,
)
from tests.support.clients import Driver, driving
from tests.support.folders import server_folder
from tests.support.recorder import Asked, Recorder, Reply, recorder, reply
from tests.support.waiting import wait_until

CLUSTER = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
KINDS: dict[str, type[Any]] = {"sync": Client, "asyncio": AsyncClient}
TOKEN = "dop_v1_0123456789abcdef"
OK = reply(200, b'{"pool": {"name": "p"}}')
LOST = Reply(b"", ends=True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Any]:
    return KINDS[request.param]


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with server_folder() as made:
        (made / "other.crt").write_text(certificates.new_authority("another")[0])
        yield made


@pytest.fixture
def secure(folder: Path) -> Iterator[Recorder]:
    with recorder(folder) as made:
        yield made


def get(driver: Driver, **call: Any) -> Any:
    return driver.finished(driver.client.databases.get_connection_pool(CLUSTER, "p", **call))


@pytest.fixture
def silent(server: Recorder) -> Iterator[Recorder]:
    """A service that accepts a request and never responds."""
    over = threading.Event()

    def never(asked: Asked) -> Reply:
        over.wait()
        return LOST

    server.answer = never
    yield server
    over.set()


@pytest.mark.parametrize("of_the_call", [True, False], ids=["of the call", "of the client"])
def test_an_answer_that_takes_longer_than_the_timeout_is_given_up(
    silent: Recorder, kind: type[Any], of_the_call: bool
) -> None:
    client = kind(TOKEN, endpoint=silent.address, timeout=60.0 if of_the_call else 0.05, retry=None)
    with (
        driving(client) as driver,
        pytest.raises(NetworkTimeoutError, match="the response took longer") as late,
    ):
        get(driver, **({"timeout": 0.05} if of_the_call else {}))
    assert late.value.reached
    assert len(silent.asked) == 1


def test_a_task_that_is_cancelled_gives_its_connection_back(silent: Recorder) -> None:
    async def cancelled() -> None:
        async with AsyncClient(TOKEN, endpoint=silent.address) as client:
            call = asyncio.create_task(client.databases.get_cluster(CLUSTER))
            while not silent.asked:
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            silent.answer = lambda asked: OK
            assert "pool" in await client.databases.get_cluster(CLUSTER)

    asyncio.run(cancelled())


def test_a_proxy_gets_the_whole_address(server: Recorder, kind: type[Any]) -> None:
    client = kind(TOKEN, endpoint="http://cenote.invalid", allow_plain_http=True, proxy=server.address)
    with driving(client) as driver:
        get(driver)
    assert server.asked[0].target == f"http://cenote.invalid/v2/databases/{CLUSTER}/pools/p"


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    server: Recorder, kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.address)
    with driving(kind(TOKEN, endpoint="http://cenote.invalid", allow_plain_http=True)) as driver:
        get(driver)
    with driving(kind(TOKEN, endpoint=server.address)) as driver:
        get(driver)
    # Loopback as well, where nobody listens.
    other = kind(TOKEN, endpoint="http://127.0.1.2:9", allow_plain_http=True, retry=None)
    with driving(other) as driver, pytest.raises(NetworkError):
        get(driver)
    through, direct = server.asked
    assert through.target.startswith("http://cenote.invalid/")
    assert direct.target.startswith("/v2/")


def test_a_proxy_that_is_none_is_refused(kind: type[Any]) -> None:
    with driving(kind(TOKEN, proxy="ftp://x")) as driver, pytest.raises(UsageError, match="proxy"):
        get(driver)


@pytest.mark.parametrize("how", ["file", "path", "context", "off", "environment"])
def test_a_certificate_is_checked_as_was_said(
    secure: Recorder, folder: Path, kind: type[Any], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))
    verify: dict[str, Any] = {
        "file": str(folder / "ca.crt"),
        "path": folder / "ca.crt",
        "context": ssl.create_default_context(cafile=folder / "ca.crt"),
        "off": False,
        "environment": True,
    }
    with driving(kind(TOKEN, endpoint=secure.address, verify=verify[how])) as driver:
        assert get(driver) == {}


def test_a_certificate_that_is_not_trusted_is_told_at_once(
    secure: Recorder, folder: Path, kind: type[Any]
) -> None:
    client = kind(TOKEN, endpoint=secure.address, verify=str(folder / "other.crt"))
    with driving(client) as driver, pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED") as refused:
        get(driver)
    assert not refused.value.reached
    assert secure.asked == []
    assert secure.connections == 1


def test_a_certificate_for_another_name_is_not_trusted(
    secure: Recorder, folder: Path, kind: type[Any]
) -> None:
    client = kind(
        TOKEN,
        endpoint=secure.address.replace("localhost", "127.0.0.1"),
        verify=str(folder / "ca.crt"),
    )
    with driving(client) as driver, pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
        get(driver)


def test_a_file_of_certificates_that_cannot_be_read_is_named(folder: Path, kind: type[Any]) -> None:
    for path in (folder / "none.crt", folder):
        with driving(kind(TOKEN, verify=str(path))) as driver, pytest.raises(UsageError, match=str(path)):
            get(driver)


def test_a_transport_of_ones_own_takes_the_place_of_the_network(server: Recorder) -> None:
    class Counting(httpx.HTTPTransport):
        sent, closed = 0, False

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            self.sent += 1
            return super().handle_request(request)

        def close(self) -> None:
            self.closed = True
            super().close()

    transport = Counting()
    with Client(TOKEN, endpoint=server.address, transport=transport) as client:
        client.databases.list_clusters()
        client.databases.list_clusters()
    assert (transport.sent, transport.closed) == (2, True)


def test_calls_one_after_the_other_share_a_connection(server: Recorder, kind: type[Any]) -> None:
    with driving(kind(TOKEN, endpoint=server.address)) as driver:
        for _ in range(5):
            get(driver)
    assert server.connections == 1


def test_a_client_that_nobody_closes_is_closed_when_it_is_forgotten(server: Recorder) -> None:
    client = Client(TOKEN, endpoint=server.address)
    client.databases.list_clusters()
    assert server.ended == 0
    del client
    gc.collect()
    wait_until("its connection has ended", 10, lambda: server.ended == 1)


def test_threads_may_share_a_client(server: Recorder) -> None:
    server.answers(OK)
    with Client(TOKEN, endpoint=server.address) as client, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(client.databases.get_connection_pool, CLUSTER, "p") for _ in range(100)]
        assert all(call.result()["pool"]["name"] == "p" for call in calls)
    assert server.connections <= 8


def test_a_closed_client_makes_no_call(server: Recorder) -> None:
    with Client(TOKEN, endpoint=server.address) as client:
        client.databases.list_clusters()
    with pytest.raises(UsageError, match="the client is closed"):
        client.databases.list_clusters()
    client.close()
    assert len(server.asked) == 1


def test_a_closed_asyncio_client_makes_no_call(server: Recorder) -> None:
    async def closed() -> None:
        async with AsyncClient(TOKEN, endpoint=server.address) as client:
            await client.databases.list_clusters()
        with pytest.raises(UsageError, match="the client is closed"):
            await client.databases.list_clusters()
        await client.close()

    asyncio.run(closed())
    assert len(server.asked) == 1
