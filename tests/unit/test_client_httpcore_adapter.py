"""The requests that the client passes to httpcore."""

from __future__ import annotations

from typing import Any

import pytest

from cenote_client import Client, UsageError
from cenote_client._base import Request
from cenote_client._httpcore_adapter import HttpcoreAdapter

ENDPOINT = "https://databases.example.com:8443/prefix"


def sent(method: str = "GET", path: str = "/v2/databases", endpoint: str = ENDPOINT, **given: Any) -> Any:
    client = Client("token", endpoint=endpoint, headers=given.get("headers"))
    request = client._make_request(method, path, {}, given.get("body"), given.get("query"))
    return HttpcoreAdapter(None, endpoint).build_request(request)


def test_a_request_goes_to_the_host_and_below_the_path_of_the_endpoint() -> None:
    request = sent(query={"page": 2})
    assert (request.url.scheme, request.url.host, request.url.port) == (
        b"https",
        b"databases.example.com",
        8443,
    )
    assert request.url.target == b"/prefix/v2/databases?page=2"
    assert dict(request.headers)[b"host"] == b"databases.example.com:8443"


def test_an_address_of_ip_version_6_keeps_its_brackets_in_the_host_header_alone() -> None:
    request = sent(endpoint="https://[::1]:8443")
    assert request.url.host == b"::1"
    assert dict(request.headers)[b"host"] == b"[::1]:8443"


def test_a_header_of_the_users_replaces_one_of_ours() -> None:
    found = sent(headers={"Accept": "text/plain", "Host": "other.example.com"}).headers
    assert [value for name, value in found if name == b"accept"] == [b"text/plain"]
    assert [value for name, value in found if name == b"host"] == [b"other.example.com"]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", None, b"0"),
        ("PUT", {}, b"2"),
        ("DELETE", {}, b"2"),
    ],
)
def test_the_length_of_a_body_is_told_where_one_is_expected(
    method: str, body: object, length: bytes | None
) -> None:
    assert dict(sent(method, body=body).headers).get(b"content-length") == length


def test_a_path_that_is_not_ascii_is_escaped_and_what_is_escaped_stays() -> None:
    assert sent(path="/v2/ä b%2Fc").url.target == b"/prefix/v2/%C3%A4%20b%2Fc"


def test_a_header_that_http_cannot_carry_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as refused:
        sent(headers={"x-name": "secret ☃"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint", ["https://h:99999", "https://h:port", "https://[::1", "https://:443", "h"]
)
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="endpoint must be"):
        Client("token", endpoint=endpoint)


def test_a_path_cannot_change_the_host_that_gets_the_token() -> None:
    with (
        Client("token", endpoint="https://api.example.com") as client,
        pytest.raises(UsageError, match="slash"),
    ):
        client.request("GET", ".evil.example/v2/databases")


def test_the_repr_of_a_request_shows_no_token() -> None:
    with Client("cenote_v1_secret") as client:
        request = client._make_request("GET", "/v2/databases", {}, None, None)
    assert isinstance(request, Request)
    assert "secret" not in repr(request)
    assert "secret" not in repr(client)
