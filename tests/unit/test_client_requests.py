"""Requests built from the arguments of the client and of a call: URLs, headers, bodies, timeouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote_client import AsyncClient, Client, UsageError
from cenote_client import _operations as operations
from cenote_client._base import BaseClient, Request, format_path
from cenote_client._secret import Secret, redacted

TOKEN = "dop_v1_0123456789abcdef"
VARIABLES = ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_API_URL", "SSL_CERT_FILE")
KINDS: list[type[Client | AsyncClient]] = [Client, AsyncClient]

names = st.text(min_size=1).filter(lambda text: text not in (".", ".."))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def request_of(client: BaseClient, body: Any = None, query: Any = None, **call: Any) -> Request:
    arguments: Any = (operations.GET_CONNECTION_POOL, ("c", "p"), call, body, query)
    return client._request_for(*arguments)


@given(cluster=names, pool=names)
def test_a_name_stays_one_piece_of_the_path(cluster: str, pool: str) -> None:
    path = format_path("/v2/databases/{}/pools/{}", (cluster, pool))
    assert path.isascii()
    assert [unquote(piece) for piece in path.split("/")[3::2]] == [cluster, pool]
    assert urlsplit("https://x" + path).path == path


@pytest.mark.parametrize("name", ["", ".", "..", None, "half \ud800 a character"])
def test_a_name_that_would_change_the_operation_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="is not a valid name in"):
        format_path("/v2/databases/{}/pools/{}", ("c", name))


def test_a_name_may_be_a_uuid() -> None:
    uuid = UUID("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30")
    assert format_path("/v2/databases/{}", (uuid,)) == f"/v2/databases/{uuid}"


def test_a_body_is_json_and_says_so() -> None:
    request = request_of(
        Client(TOKEN), {"name": "ü", "at": datetime(2026, 1, 2, tzinfo=UTC), "id": UUID(int=1)}
    )
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content or b"") == {
        "name": "ü",
        "at": "2026-01-02T00:00:00+00:00",
        "id": "00000000-0000-0000-0000-000000000001",
    }


def test_without_a_body_there_is_no_content_type() -> None:
    request = request_of(Client(TOKEN))
    assert request.content is None
    assert "content-type" not in request.headers


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be serialized to JSON"):
        request_of(Client(TOKEN), {"tags": {"a"}})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ""),
        ({"page": 2, "tag_name": None}, "?page=2"),
        ({"tag_name": "a b&c=d/é"}, "?tag_name=a%20b%26c%3Dd%2F%C3%A9"),
        ({"on": True, "off": False}, "?on=true&off=false"),
        ({"id": ["a", "b"]}, "?id=a&id=b"),
    ],
)
def test_a_query_is_escaped_and_leaves_out_what_is_none(query: dict[str, Any], expected: str) -> None:
    request = request_of(Client(TOKEN), query=query)
    assert request.url == f"https://api.digitalocean.com/v2/databases/c/pools/p{expected}"


def test_params_of_a_call_join_its_query_and_win_over_it() -> None:
    request = request_of(Client(TOKEN), query={"page": 1, "per_page": 20}, params={"page": 3})
    assert urlsplit(request.url).query == "page=3&per_page=20"


def test_headers_of_a_call_win_over_those_of_the_client_in_whatever_case() -> None:
    client = Client(TOKEN, headers={"X-Own": "client", "Accept": "text/x"}, user_agent="mine/1")
    request = request_of(client, headers={"x-OWN": "call"})
    assert request.headers["x-own"] == "call"
    assert request.headers["accept"] == "text/x"
    assert request.headers["user-agent"] == "mine/1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("timeout", "limits"),
    [
        (None, (None, None, None, None)),
        (5, (5, 5, 5, 5)),
        ((1.0, 2.0, None, 4.0), (1.0, 2.0, None, 4.0)),
        (httpx.Timeout(9, read=1), (9, 1, 9, 9)),
    ],
)
def test_a_timeout_is_a_number_or_four_or_of_httpx(timeout: Any, limits: tuple[float | None, ...]) -> None:
    expected = dict(zip(("connect", "read", "write", "pool"), limits, strict=True))
    assert request_of(Client(TOKEN, timeout=timeout)).timeouts == expected
    assert request_of(Client(TOKEN, timeout=77), timeout=timeout).timeouts == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("token", "words"),
    [("", "empty"), (" \n", "empty"), ("a b", "character"), ("é", "character"), ("a\nb", "character")],
)
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(
    kind: type[Client], token: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        kind(token)
    assert token.strip() == "" or token not in str(refused.value)


def test_blanks_around_a_token_are_of_the_file_that_it_was_read_from() -> None:
    assert request_of(Client(f" {TOKEN}\n")).headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "localhost:8443",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?a=b",
        "https://x#y",
        "http://x.example",
    ],
)
def test_an_endpoint_that_would_not_do_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError):
        Client(TOKEN, endpoint=endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["https://x", "https://x:8443/base/", "http://localhost:1", "http://127.0.0.1", "http://[::1]:80"],
)
def test_an_endpoint_may_have_a_path_and_be_plain_on_this_machine(endpoint: str) -> None:
    assert Client(TOKEN, endpoint=endpoint).endpoint == endpoint.rstrip("/")


def test_plain_http_to_another_machine_can_be_allowed() -> None:
    assert Client(TOKEN, endpoint="http://x", allow_plain_http=True).endpoint == "http://x"


@pytest.mark.parametrize("kind", KINDS)
def test_the_environment_names_token_endpoint_and_certificates(
    kind: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITALOCEAN_ACCESS_TOKEN", "second")
    assert request_of(kind.from_env()).headers["authorization"] == "Bearer second"
    assert kind.from_env().endpoint == "https://api.digitalocean.com"
    assert kind.from_env()._verify is True
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", "first")
    monkeypatch.setenv("DIGITALOCEAN_API_URL", "https://localhost:8443")
    monkeypatch.setenv("SSL_CERT_FILE", "/some/ca.crt")
    client = kind.from_env(timeout=3)
    assert request_of(client).headers["authorization"] == "Bearer first"
    assert (client.endpoint, client._verify) == ("https://localhost:8443", "/some/ca.crt")
    assert request_of(client).timeouts["read"] == 3
    given = kind.from_env(token="given", endpoint="https://other", verify=False)
    assert (given.endpoint, given._verify) == ("https://other", False)
    assert request_of(given).headers["authorization"] == "Bearer given"


@pytest.mark.parametrize("kind", KINDS)
def test_an_environment_without_a_token_is_told_what_to_set(kind: type[Client]) -> None:
    with pytest.raises(UsageError, match="set DIGITALOCEAN_TOKEN"):
        kind.from_env()


@pytest.mark.parametrize("show", [str, repr, "{}".format, lambda thing: f"{thing!r} {thing}"])
def test_a_secret_shows_stars(show: Callable[[object], str]) -> None:
    assert TOKEN not in show(Secret(TOKEN))
    assert TOKEN not in show(Client(TOKEN))
    assert TOKEN not in show(vars(Client(TOKEN)))


def test_a_secret_is_not_written_by_pickle() -> None:
    with pytest.raises(TypeError):
        Secret(TOKEN).__reduce__()


@given(st.text(), st.text())
def test_a_text_is_rid_of_the_token_and_of_passwords_in_addresses(before: str, after: str) -> None:
    text = f"{before}{TOKEN} postgres://doadmin:hunter2@db:25060/x{after}"
    assert TOKEN not in redacted(text, TOKEN)
    assert "hunter2" not in redacted(text, TOKEN)
