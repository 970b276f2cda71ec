"""When a call is retried, and after which wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote_client import Retry
from cenote_client._retry import NO_RETRY, Attempts, parse_retry_after

PATIENT = Retry(tries=1000, budget=float("inf"))
REPEATABLE = ("GET", "PUT", "DELETE")
OTHERS = ("POST", "PATCH")
PASSING = (408, 429, 500, 502, 503, 504)
LASTING = (400, 401, 403, 404, 405, 409, 410, 412, 415, 422, 501, 505)


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("method", REPEATABLE)
def test_a_failure_that_passes_is_tried_again_where_nothing_can_happen_twice(
    method: str, status: int
) -> None:
    assert Attempts(PATIENT, method).after_status(status, None) is not None


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("method", OTHERS)
def test_a_failure_is_final_where_something_could_happen_twice(method: str, status: int) -> None:
    assert Attempts(PATIENT, method).after_status(status, None) is None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", [*REPEATABLE, *OTHERS])
def test_a_refusal_that_names_the_pause_is_tried_again_after_it(method: str, status: int) -> None:
    assert Attempts(PATIENT, method).after_status(status, 7.0) == 7.0


@pytest.mark.parametrize("status", [500, 502, 504, 408])
@pytest.mark.parametrize("method", OTHERS)
def test_a_pause_after_any_other_failure_says_not_that_nothing_was_done(method: str, status: int) -> None:
    assert Attempts(PATIENT, method).after_status(status, 0.0) is None


@pytest.mark.parametrize("pause", [None, 0.0])
@pytest.mark.parametrize("status", LASTING)
@pytest.mark.parametrize("method", [*REPEATABLE, *OTHERS])
def test_a_refusal_is_final(method: str, status: int, pause: float | None) -> None:
    assert Attempts(PATIENT, method).after_status(status, pause) is None


@pytest.mark.parametrize("method", OTHERS)
def test_a_connection_that_was_never_made_is_tried_again_by_every_method(method: str) -> None:
    assert Attempts(PATIENT, method).after_failure(reached=False) is not None
    assert Attempts(PATIENT, method).after_failure(reached=True) is None


@pytest.mark.parametrize("method", REPEATABLE)
def test_a_lost_connection_is_tried_again_where_nothing_can_happen_twice(method: str) -> None:
    assert Attempts(PATIENT, method).after_failure(reached=True) is not None


@given(tries=st.integers(1, 20))
def test_a_call_is_tried_no_more_often_than_was_said(tries: int) -> None:
    attempts = Attempts(Retry(tries=tries, budget=float("inf")), "GET")
    waits = [attempts.after_status(503, 0.0) for _ in range(tries + 2)]
    assert [wait is None for wait in waits] == [False] * (tries - 1) + [True] * 3


@pytest.mark.parametrize("method", [*REPEATABLE, *OTHERS])
def test_no_retry_tries_once(method: str) -> None:
    assert Attempts(NO_RETRY, method).after_status(429, 0.0) is None
    assert Attempts(NO_RETRY, method).after_failure(reached=False) is None


def test_a_wait_that_would_end_after_the_budget_is_not_begun() -> None:
    attempts = Attempts(Retry(tries=10, budget=60.0), "GET")
    assert attempts.after_status(429, 3600.0) is None
    assert attempts.after_status(429, 30.0) == 30.0


@given(made=st.integers(1, 40), first=st.floats(0, 10), longest=st.floats(0, 100))
def test_waits_double_up_to_the_longest_and_are_shortened_by_half_at_most(
    made: int, first: float, longest: float
) -> None:
    retry = Retry(tries=1000, budget=float("inf"), first_wait=first, longest_wait=longest)
    attempts = Attempts(retry, "GET")
    waits = [attempts.after_failure(reached=True) for _ in range(made)]
    full = min(first * 2 ** (made - 1), longest)
    assert waits[-1] is not None
    assert full / 2 <= waits[-1] <= full


def test_many_clients_do_not_come_back_together() -> None:
    assert len({Attempts(Retry(), "GET").after_failure(reached=True) for _ in range(20)}) > 1


def test_a_pause_in_seconds_is_taken_as_it_is() -> None:
    assert [parse_retry_after(text) for text in ("0", "7", " 30 ")] == [0.0, 7.0, 30.0]


def test_a_pause_until_a_moment_is_counted_from_now() -> None:
    later = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert later is not None
    assert 0 < later <= 3600
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "1.5", "٣", "1e3", "9" * 400])
def test_what_is_no_pause_counts_as_none(text: str | None) -> None:
    assert parse_retry_after(text) is None


@given(st.text() | st.from_regex(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d( GMT| [+-]\d{4})?", fullmatch=True))
def test_no_header_breaks_the_reading_of_a_pause(text: str) -> None:
    pause = parse_retry_after(text)
    assert pause is None or pause >= 0
