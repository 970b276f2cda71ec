"""Code that was written for the official ``pydo``, with ours in its place."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pydo
import pydo.aio
from cenote_client import NetworkError, UsageError
from pydo import exceptions
from tests.support.clients import Driver, driving
from tests.support.folders import server_folder
from tests.support.recorder import Asked, Recorder, Reply, recorder, reply
from tests.support.service import clean_environment

CLUSTER = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
TOKEN = "dop_v1_0123456789abcdef"
NOT_FOUND = {"id": "not_found", "message": "cluster not found", "request_id": "4d9d8375"}
KINDS: dict[str, type[Any]] = {"sync": pydo.Client, "asyncio": pydo.aio.Client}
REFERENCE = """
import os
from pydo import Client

client = Client(token=os.environ.get("DIGITALOCEAN_TOKEN"))

get_resp = client.databases.get_connection_pool(database_cluster_uuid="a7aba8a", pool_name="backend-pool")
print(get_resp)
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Any]:
    return KINDS[request.param]


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


@pytest.fixture
def driver(kind: type[Any], server: Recorder) -> Iterator[Driver]:
    with driving(kind(TOKEN, endpoint=server.address, retry_backoff_factor=0)) as made:
        yield made


def get(driver: Driver, **options: Any) -> Any:
    return driver.finished(
        driver.client.databases.get_connection_pool(
            database_cluster_uuid=CLUSTER, pool_name="backend-pool", **options
        )
    )


def test_the_code_of_the_reference_runs_unchanged() -> None:
    pool = {"pool": {"name": "backend-pool", "size": 10}}
    with server_folder() as folder, recorder(folder) as server:
        server.answers(reply(200, json.dumps(pool).encode()))
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", REFERENCE],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment()
            | {
                "DIGITALOCEAN_TOKEN": TOKEN,
                "DIGITALOCEAN_API_URL": server.address,
                "SSL_CERT_FILE": str(folder / "ca.crt"),
            },
        )
    assert (done.stdout, done.stderr) == (f"{pool}\n", "")
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("GET", "/v2/databases/a7aba8a/pools/backend-pool")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_the_endpoint_is_the_official_one_unless_the_environment_or_the_code_says_otherwise(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIGITALOCEAN_API_URL", raising=False)
    assert kind(TOKEN).endpoint == "https://api.digitalocean.com"
    monkeypatch.setenv("DIGITALOCEAN_API_URL", "https://localhost:8443")
    assert kind(TOKEN).endpoint == "https://localhost:8443"
    assert kind(TOKEN, endpoint="https://other").endpoint == "https://other"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (lambda: {"name": "orders"}, b'{"name": "orders"}'),
        (lambda: b'{"name":  "orders"}', b'{"name":  "orders"}'),
        (lambda: io.BytesIO(b'{"name":"orders"}'), b'{"name":"orders"}'),
    ],
    ids=["dict", "bytes", "file"],
)
def test_a_body_may_be_a_dict_bytes_or_a_file_and_come_by_keyword(
    server: Recorder, driver: Driver, given: Callable[[], Any], sent: bytes
) -> None:
    server.answers(reply(201, b'{"db": {"name": "orders"}}'))
    assert driver.finished(driver.client.databases.add(CLUSTER, body=given())) == {"db": {"name": "orders"}}
    (asked,) = server.asked
    assert (asked.body, asked.headers["content-type"]) == (sent, "application/json")


def test_a_file_is_read_once_and_sent_as_often_as_it_takes(server: Recorder, driver: Driver) -> None:
    server.answers(reply(503, b"", {"retry-after": "0"}), reply(201, b"{}"))
    driver.finished(driver.client.databases.add(CLUSTER, io.BytesIO(b'{"name": "x"}')))
    assert [asked.body for asked in server.asked] == [b'{"name": "x"}'] * 2


def test_a_call_takes_headers_params_and_a_timeout_of_its_own(server: Recorder, driver: Driver) -> None:
    get(driver, headers={"X-Own": "1"}, params={"page": 2}, timeout=5)
    (asked,) = server.asked
    assert (asked.headers["x-own"], asked.query) == ("1", "page=2")


def test_a_404_is_returned_as_if_it_were_the_answer(server: Recorder, driver: Driver) -> None:
    server.answers(reply(404, json.dumps(NOT_FOUND).encode()))
    assert get(driver) == NOT_FOUND
    assert driver.finished(driver.client.databases.destroy_cluster(CLUSTER)) == NOT_FOUND


def test_a_404_is_raised_by_a_client_that_was_told_so(server: Recorder, kind: type[Any]) -> None:
    server.answers(reply(404, json.dumps(NOT_FOUND).encode()))
    strict = kind(TOKEN, endpoint=server.address, raise_not_found=True)
    raised = pytest.raises(exceptions.ResourceNotFoundError, match="cluster not found")
    with driving(strict) as driver, raised as missing:
        get(driver)
    error = missing.value
    assert (error.status_code, error.reason, error.id) == (404, "Not Found", "not_found")
    assert error.request_id == "4d9d8375"
    assert error.error is not None
    assert error.error.message == "cluster not found"
    assert error.response is not None
    assert error.response.json() == NOT_FOUND


@pytest.mark.parametrize("call", ["pool_uri", "wait_until_online", "iter_users"])
def test_what_is_beyond_pydo_raises_a_404(server: Recorder, driver: Driver, call: str) -> None:
    server.answers(reply(404, json.dumps(NOT_FOUND).encode()))
    arguments = (CLUSTER, "p") if call == "pool_uri" else (CLUSTER,)
    with pytest.raises(exceptions.ResourceNotFoundError):
        driver.finished(getattr(driver.client.databases, call)(*arguments))


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "ClientAuthenticationError"),
        (403, "HttpResponseError"),
        (409, "ResourceExistsError"),
        (422, "HttpResponseError"),
        (500, "HttpResponseError"),
    ],
)
def test_every_other_refusal_is_raised_under_the_name_that_people_catch(
    server: Recorder, driver: Driver, status: int, name: str
) -> None:
    server.answers(reply(status, json.dumps(NOT_FOUND).encode()))
    with pytest.raises(exceptions.HttpResponseError) as raised:
        get(driver)
    assert type(raised.value) is getattr(exceptions, name)
    assert raised.value.status_code == status


def test_a_service_that_is_not_there_or_does_not_answer_has_its_names(
    server: Recorder, kind: type[Any]
) -> None:
    over = threading.Event()

    def never(asked: Asked) -> Reply:
        over.wait()
        return Reply(b"", ends=True)

    with recorder() as gone:
        nobody = gone.address
    client = kind(TOKEN, endpoint=nobody, retry_total=0)
    with driving(client) as driver, pytest.raises(exceptions.ServiceRequestError) as refused:
        get(driver)
    assert isinstance(refused.value.inner_exception, NetworkError)
    server.answer = never
    client = kind(TOKEN, endpoint=server.address, retry_total=0)
    try:
        with driving(client) as driver, pytest.raises(exceptions.ServiceResponseTimeoutError):
            get(driver, read_timeout=0.05)
    finally:
        over.set()


@pytest.mark.parametrize("name", ["droplets", "account", "kubernetes", "no_such_thing"])
def test_another_group_is_said_to_be_in_the_official_package(kind: type[Any], name: str) -> None:
    client = kind(TOKEN)
    with pytest.raises(AttributeError, match=f"'{name}'.* install the official package pydo") as missing:
        getattr(client, name)
    assert TOKEN not in str(missing.value)
    assert not hasattr(client, name)
    assert not hasattr(copy.copy(client), name)


def test_the_token_may_be_called_api_key(server: Recorder, kind: type[Any]) -> None:
    with driving(kind(api_key=TOKEN, endpoint=server.address)) as driver:
        get(driver)
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_an_option_that_nobody_knows_is_warned_of(kind: type[Any]) -> None:
    with pytest.warns(UserWarning, match=r"pydo\.Client has no option no_such=; it is ignored") as warned:
        kind(TOKEN, no_such=1)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("option", ["transport", "retry_policy", "authentication_policy"])
def test_an_option_that_takes_an_object_of_azure_core_is_refused(kind: type[Any], option: str) -> None:
    with pytest.raises(TypeError, match=f"{option}= takes an object of azure-core"):
        kind(TOKEN, **{option: object()})


@pytest.mark.parametrize("option", ["inference_endpoint", "logging_enable", "polling_interval"])
def test_an_option_that_means_nothing_for_databases_is_ignored(kind: type[Any], option: str) -> None:
    kind(TOKEN, **{option: None})


def test_plain_http_to_another_machine_needs_enforce_https_off(kind: type[Any]) -> None:
    with pytest.raises(UsageError, match="plain HTTP"):
        kind(TOKEN, endpoint="http://cenote.invalid")
    assert (
        kind(TOKEN, endpoint="http://cenote.invalid", enforce_https=False).endpoint == "http://cenote.invalid"
    )


def test_a_proxy_comes_as_a_dict(server: Recorder, kind: type[Any]) -> None:
    options = {"enforce_https": False, "proxies": {"http": server.address}}
    with driving(kind(TOKEN, endpoint="http://cenote.invalid", **options)) as driver:
        get(driver)
    assert server.asked[0].target.startswith("http://cenote.invalid/")


def test_both_clients_close_by_with(server: Recorder) -> None:
    async def asynchronous() -> Any:
        async with pydo.aio.Client(TOKEN, endpoint=server.address) as client:
            return await client.databases.list_clusters()

    with pydo.Client(TOKEN, endpoint=server.address) as client:
        listed: object = client.databases.list_clusters()
    assert listed == {}
    assert asyncio.run(asynchronous()) == {}


def test_no_secret_is_shown(server: Recorder, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cenote_client")
    uri = "postgres://doadmin:hunter2@localhost:25061/p"
    server.answers(reply(503, b""), reply(403, json.dumps({"message": f"{TOKEN} {uri}"}).encode()))
    with pytest.raises(exceptions.HttpResponseError) as raised:
        get(driver)
    error = raised.value
    shown = [repr(driver.client), repr(vars(driver.client)), repr(error.response), repr(error), caplog.text]
    text = "\n".join([*shown, *traceback.format_exception(error)])
    assert "again in" in text
    assert TOKEN not in text
    assert "hunter2" not in text


def test_the_packages_say_that_they_are_typed() -> None:
    assert Path(pydo.__file__).with_name("py.typed").exists()
