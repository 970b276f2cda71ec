"""Pagination, polling intervals, and the choice of a pool's connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote_client import AnswerError, NotFoundError
from cenote_client._pagination import Paginator
from cenote_client._poller import FIRST_PAUSE, LONGEST_PAUSE, Poller, cluster_of
from cenote_client._pool_uri import pool_uri_of


@given(
    count=st.integers(0, 50),
    per_page=st.integers(1, 12),
    tells=st.sampled_from(["links", "total", "nothing"]),
)
def test_all_pages_are_gone_through_however_a_service_tells_their_end(
    count: int, per_page: int, tells: str
) -> None:
    chunks = [list(range(count))[first : first + per_page] for first in range(0, count, per_page)] or [[]]
    answers: list[dict[str, Any]] = []
    for number, chunk in enumerate(chunks, 1):
        answer: dict[str, Any] = {"things": chunk}
        if tells == "links":
            answer["links"] = {"pages": {"first": "…"} | ({"next": "…"} if number < len(chunks) else {})}
        elif tells == "total":
            answer |= {"meta": {"total": count}, "links": {}}
        answers.append(answer)
    answers.append({"things": []})
    assert through(answers, per_page) == list(range(count))


def through(answers: list[dict[str, Any]], per_page: int) -> list[Any]:
    pages, things = Paginator("things", per_page), []
    while (number := pages.number) is not None:
        assert pages.query() == {"page": number, "per_page": per_page}
        things += pages.items(answers[number - 1])
    return things


def test_a_service_that_knows_no_pages_is_asked_twice_at_most() -> None:
    everything = {"things": [1, 2, 3]}
    assert through([everything, everything], per_page=3) == [1, 2, 3]


@pytest.mark.parametrize("answer", [{}, {"things": None}, {"things": {"a": 1}}, {"links": 7, "meta": []}])
def test_an_answer_without_the_list_is_the_end(answer: dict[str, Any]) -> None:
    assert through([answer], per_page=1) == []


def test_looks_come_less_and_less_often_until_the_time_is_over() -> None:
    poller = Poller(1800.0)
    pauses = [poller.pause() or 0.0 for _ in range(20)]
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_no_pause_goes_beyond_the_time() -> None:
    pause = Poller(0.05).pause()
    assert pause is not None
    assert pause <= 0.05
    assert Poller(0.0).pause() is None
    assert Poller(-1.0).pause() is None


@pytest.mark.parametrize("answer", [{}, {"database": None}, {"database": {}}, {"database": {"status": 7}}])
def test_an_answer_without_a_cluster_is_no_cluster_that_waits(answer: dict[str, Any]) -> None:
    with pytest.raises(AnswerError, match="no cluster with a status"):
        cluster_of(answer)


POOL = {
    "name": "p",
    "connection": {"uri": "a"},
    "private_connection": {"uri": "b"},
    "standby_connection": {"uri": "c"},
    "standby_private_connection": {"uri": "d"},
}


@pytest.mark.parametrize(
    ("private", "standby", "uri"),
    [(False, False, "a"), (True, False, "b"), (False, True, "c"), (True, True, "d")],
)
def test_each_of_the_four_connections_of_a_pool_can_be_had(private: bool, standby: bool, uri: str) -> None:
    assert pool_uri_of({"pool": POOL}, private=private, standby=standby) == uri


def test_a_pool_without_the_connection_says_which_one() -> None:
    with pytest.raises(NotFoundError, match="the pool 'p' has no standby private connection"):
        pool_uri_of({"pool": {"name": "p", "connection": {"uri": "a"}}}, private=True, standby=True)
    with pytest.raises(AnswerError, match="the response contains no pool"):
        pool_uri_of({}, private=False, standby=False)
