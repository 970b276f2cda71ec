"""Whatever the response, a client returns a value or raises an error of its own, and shows no secret."""

from __future__ import annotations

import gzip
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import pydo
import pydo.aio
from cenote_client import AsyncClient, CenoteError, Client
from pydo.exceptions import AzureError
from tests.support.clients import KINDS, Driver, driving
from tests.support.recorder import Recorder, Reply, recorder

TOKEN = "dop_v1_0123456789abcdef"  # what must not be seen
PASSWORD = "AVNS_do-not-show"
URI = f"postgres://doadmin:{PASSWORD}@localhost:25061/p?sslmode=require"
CLUSTER = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
POOL = {"name": "p", "mode": "session", "size": 1, "db": "defaultdb"}
MANY = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

CALLS: dict[str, Callable[[Driver], Any]] = {
    "get": lambda driver: driver.client.databases.get_connection_pool(CLUSTER, "p"),
    "add": lambda driver: driver.client.databases.add_connection_pool(CLUSTER, POOL),
    "update": lambda driver: driver.client.databases.update_connection_pool(CLUSTER, "p", POOL),
    "delete": lambda driver: driver.client.databases.delete_connection_pool(CLUSTER, "p"),
    "patch": lambda driver: driver.client.databases.patch_config(CLUSTER, {"config": {}}),
    "list": lambda driver: driver.client.databases.list_clusters(),
    "iterate": lambda driver: driver.client.databases.iter_clusters(),
    "wait": lambda driver: driver.client.databases.wait_until_online(CLUSTER, timeout=0),
    "uri": lambda driver: driver.client.databases.pool_uri(CLUSTER, "p"),
    "any path": lambda driver: driver.client.request("GET", "/v2/account"),
}

OPERATIONS = {"get", "add", "update", "delete", "patch", "list"}  # which pydo has as well


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    with recorder() as made:
        yield made


@pytest.fixture(scope="module", params=[*KINDS, "httpx", "httpx, async"])
def driver(request: pytest.FixtureRequest, server: Recorder) -> Iterator[Driver]:
    made: dict[str, Callable[[], Any]] = {
        "cenote_client": lambda: Client(TOKEN, endpoint=server.address, retry=None),
        "cenote_client, async": lambda: AsyncClient(TOKEN, endpoint=server.address, retry=None),
        "httpx": lambda: Client(TOKEN, endpoint=server.address, retry=None, transport=httpx.HTTPTransport()),
        "httpx, async": lambda: AsyncClient(
            TOKEN, endpoint=server.address, retry=None, transport=httpx.AsyncHTTPTransport()
        ),
        "pydo": lambda: pydo.Client(TOKEN, endpoint=server.address, retry_total=0),
        "pydo.aio": lambda: pydo.aio.Client(TOKEN, endpoint=server.address, retry_total=0),
    }
    with driving(made[request.param]()) as created:
        yield created


names = st.sampled_from(
    [
        *("id", "message", "request_id", "code", "error", "details", "innererror", "target"),
        *("database", "databases", "pool", "pools", "status", "connection", "uri"),
        *("links", "pages", "next", "meta", "total"),
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["online", "creating", URI, TOKEN])
)
any_json = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)
bodies = (
    any_json.map(lambda value: json.dumps(value).encode())
    | any_json.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    | any_json.map(lambda value: gzip.compress(json.dumps(value).encode()))
    | st.binary(max_size=200)
    | st.sampled_from([b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xef\xbb\xbf{}", b"9" * 5000, b'"\\ud800"'])
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
headers = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(["application/json", "text/html; charset=x", "text/plain", ""])
        | values,
        "content-encoding": st.sampled_from(["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip"])
        | values,
        "retry-after": st.sampled_from(["1", "-1", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 400])
        | values,
        "ratelimit-limit": st.sampled_from(["5000", "-1", "x", "9" * 5000]) | values,
        "ratelimit-remaining": st.sampled_from(["4999", "1.5", "", "9" * 5000]) | values,
        "ratelimit-reset": values,
        "x-request-id": values | st.just(TOKEN),
        "location": st.sampled_from(["/", "https://127.0.0.1:1/x", f"https://a:{PASSWORD}@b/"]) | values,
    },
)
anything = st.text() | st.text(st.characters(), max_size=5)  # the second one with halves of characters
statuses = st.sampled_from([200, 201, 202, 204, 404, 422, 500]) | st.integers(100, 999)


@st.composite
def well_formed(draw: st.DrawFn) -> Reply:
    """A valid HTTP response: any status, any header that the client reads, any body."""
    body = draw(bodies)
    fields = {"content-length": str(len(body)), **draw(headers)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Reply(f"HTTP/1.1 {draw(statuses)} What\r\n{head}\r\n".encode("latin-1") + body, ends=True)


@st.composite
def broken(draw: st.DrawFn) -> Reply:
    """An invalid response: truncated, with a wrong length, or random bytes."""
    whole = draw(well_formed()).data
    kind = draw(st.sampled_from(["cut", "length", "chunked", "noise", "more"]))
    if kind == "cut":
        whole = whole[: draw(st.integers(0, len(whole)))]
    elif kind == "length":
        length = draw(st.sampled_from([b"0", b"1", b"99999999999", b"-1", b"x"]))
        whole = whole.replace(b"content-length: ", b"content-length: " + length, 1)
    elif kind == "chunked":
        whole = whole.replace(b"content-length: ", b"transfer-encoding: chunked\r\nx: ", 1)
    elif kind == "noise":
        whole = draw(st.binary(max_size=300))
    else:
        whole += draw(st.binary(max_size=30))
    return Reply(whole, ends=True)


def problem_of(driver: Driver, call: Callable[[Driver], Any]) -> CenoteError | None:
    """Make a call and return its error, which must be one of the client's."""
    try:
        driver.finished(call(driver))
    except CenoteError as error:
        return error
    return None


@MANY
@given(answer=well_formed() | broken(), call=st.sampled_from(sorted(CALLS)))
def test_any_answer_gives_a_value_or_an_error_of_ours(
    server: Recorder, driver: Driver, answer: Reply, call: str
) -> None:
    server.answers(answer)
    error = problem_of(driver, CALLS[call])
    if error is not None:
        assert str(error)
        assert repr(error)
        if driver.returns_404 and call in OPERATIONS:
            assert isinstance(error, AzureError)


@MANY
@given(answer=well_formed(), call=st.sampled_from(sorted(CALLS)))
def test_no_answer_makes_an_error_show_a_secret(
    server: Recorder, driver: Driver, answer: Reply, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    caplog.set_level(logging.DEBUG, "cenote_client")
    server.answers(answer)
    error = problem_of(driver, CALLS[call])
    shown = [repr(driver.client), repr(driver.client.__dict__)]
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("cenote_client")]
    if error is not None:
        shown += [repr(error), *traceback.format_exception(error)]
    text = "\n".join(shown)
    assert TOKEN not in text
    assert PASSWORD not in text


@MANY
@given(cluster=anything, pool=anything, body=st.none() | any_json)
def test_any_name_and_any_body_is_sent_as_it_is_or_refused(
    server: Recorder, driver: Driver, cluster: str, pool: str, body: Any
) -> None:
    server.answers(Reply(b"HTTP/1.1 204 No Content\r\n\r\n", ends=True))
    error = problem_of(
        driver, lambda driver: driver.client.databases.update_connection_pool(cluster, pool, body)
    )
    if error is not None:
        assert server.asked == []
    else:
        (asked,) = server.asked
        assert asked.path.count("/") == 5
        assert json.dumps(json.loads(asked.body) if asked.body else None) == json.dumps(body)


@MANY
@given(
    headers=st.dictionaries(anything, anything, max_size=3),
    params=st.dictionaries(anything, anything | st.lists(anything, max_size=2) | leaves, max_size=3),
)
def test_any_header_and_any_query_is_sent_or_refused(
    server: Recorder, driver: Driver, headers: dict[str, str], params: dict[str, Any]
) -> None:
    server.answers(Reply(b"HTTP/1.1 204 No Content\r\n\r\n", ends=True))
    assume(not {"content-length", "transfer-encoding"} & {name.lower() for name in headers})
    error = problem_of(
        driver,
        lambda driver: driver.client.databases.delete_connection_pool(
            CLUSTER, "p", headers=headers, params=params
        ),
    )
    if error is not None:
        assert server.asked == []
        assert TOKEN not in "".join(traceback.format_exception(error))
