"""The error class and the message for each response."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cenote_client as c
from cenote_client.errors import error_of
from pydo import exceptions

BODY = {"id": "some_error", "message": "it cannot be done", "request_id": "4d9d8375"}
TOKEN = "dop_v1_0123456789abcdef"


def made(status: int, body: Any = BODY, headers: dict[str, str] | None = None) -> c.APIError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_of(status, headers or {}, content, retry_after=7.0, token=TOKEN)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, c.BadRequestError),
        (401, c.AuthenticationError),
        (402, c.APIError),
        (403, c.ForbiddenError),
        (404, c.NotFoundError),
        (409, c.ConflictError),
        (412, c.BusyError),
        (418, c.APIError),
        (422, c.InvalidError),
        (429, c.RateLimitError),
        (500, c.ServerError),
        (503, c.ServerError),
        (599, c.ServerError),
        (302, c.APIError),
    ],
)
def test_each_status_has_its_error_with_what_the_service_said(status: int, kind: type[c.APIError]) -> None:
    error = made(status)
    assert type(error) is kind
    assert isinstance(error, c.CenoteError)
    assert (error.status, error.id) == (status, "some_error")
    assert (error.message, error.request_id) == ("it cannot be done", "4d9d8375")
    assert str(error) == f"it cannot be done ({status} some_error, request 4d9d8375)"


def test_a_spent_limit_and_a_failing_server_say_when_to_come_back() -> None:
    limited, failing = made(429), made(503)
    assert isinstance(limited, c.RateLimitError)
    assert isinstance(failing, c.ServerError)
    assert limited.retry_after == failing.retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", {}, "Bad Gateway"),
        (b"  \n", {}, "Bad Gateway"),
        (b"<html><h1>oh</h1></html>", {"content-type": "text/html; charset=utf-8"}, "Bad Gateway"),
        (b"upstream\n  timed out", {"content-type": "text/plain"}, "upstream timed out"),
        (b"\xff\xfe", {}, "\ufffd\ufffd"),
        (b"x" * 300, {}, "x" * 200 + " …"),
        (b"[1, 2]", {}, "[1, 2]"),
        (b'{"message": {"a": 1}}', {}, '{"message": {"a": 1}}'),
        (b"[" * 100_000, {}, "[" * 200 + " …"),
    ],
)
def test_a_body_that_is_no_error_in_json_still_gives_a_clear_one(
    body: bytes, headers: dict[str, str], message: str
) -> None:
    error = made(502, body, headers)
    assert (error.id, error.message, error.request_id) == ("bad_gateway", message, None)


def test_the_number_of_the_request_comes_from_the_header_when_the_body_has_none() -> None:
    assert made(404, {"id": "not_found", "message": "no"}, {"x-request-id": "abc"}).request_id == "abc"
    assert made(404, BODY, {"x-request-id": "abc"}).request_id == "4d9d8375"


def test_a_redirect_says_where_to_and_that_it_is_not_followed() -> None:
    error = made(301, b"", {"location": "https://elsewhere/v2"})
    assert "redirected to https://elsewhere/v2, which is not followed" in str(error)


@given(st.text())
def test_no_error_repeats_the_token_or_a_password_in_an_address(text: str) -> None:
    secret = f"{text}{TOKEN} postgres://doadmin:hunter2@db/x"
    for status in (404, 429, 500):
        error = made(status, {"id": secret, "message": secret, "request_id": secret})
        for shown in (str(error), repr(error), *map(str, error.args)):
            assert TOKEN not in shown
            assert "hunter2" not in shown


@pytest.mark.parametrize(
    "error",
    [
        made(404),
        made(429),
        made(503),
        c.AnswerError(200, "unreadable_answer", "the body is not JSON"),
        c.NetworkError("no connection", reached=False),
        c.NetworkTimeoutError("too long"),
        c.WaitTimeoutError("cluster x is creating", {"status": "creating"}),
        c.UsageError("the token is empty"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error: c.CenoteError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_errors_are_those_of_python_where_it_has_a_word() -> None:
    assert issubclass(c.UsageError, ValueError)
    assert issubclass(c.NetworkError, ConnectionError)
    assert issubclass(c.NetworkTimeoutError, TimeoutError)
    assert issubclass(c.WaitTimeoutError, TimeoutError)


def test_a_wait_in_vain_keeps_what_was_seen_last_out_of_its_text() -> None:
    error = c.WaitTimeoutError("cluster x is creating after 5 s", {"connection": {"password": "hunter2"}})
    assert error.last["connection"]["password"] == "hunter2"
    assert "hunter2" not in str(error) + repr(error)


def test_every_error_of_pydo_is_one_of_ours_too() -> None:
    kinds = [
        kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert len(kinds) > 10
    assert all(issubclass(kind, c.CenoteError) for kind in kinds)
