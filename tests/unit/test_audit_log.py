"""The journal: which events go when there are too many, and how ids sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cenote.store import audit_log
from cenote.store.audit_log import MOST_EVENTS

AT = datetime(2026, 1, 1, tzinfo=UTC)


def ids(count: int) -> list[str]:
    return [audit_log.new_id(AT + timedelta(milliseconds=number)) for number in range(count)]


def test_a_later_id_sorts_after_an_earlier_one() -> None:
    made = ids(1000)
    assert made == sorted(made)
    assert len({audit_log.new_id(AT) for _ in range(1000)}) == 1000


def test_nothing_goes_as_long_as_there_is_room() -> None:
    assert audit_log.to_prune(ids(MOST_EVENTS - 1)) == []


def test_the_oldest_goes_for_a_new_one() -> None:
    made = ids(MOST_EVENTS)
    assert audit_log.to_prune(reversed(made)) == made[:1]


def test_too_many_are_taken_away_in_steps() -> None:
    made = ids(MOST_EVENTS + 500)
    gone = audit_log.to_prune(made)
    assert 1 < len(gone) < 100
    assert gone == made[: len(gone)]


def test_what_is_refused_has_a_bound_of_its_own() -> None:
    made = ids(5)
    assert audit_log.to_prune(made, most=5) == made[:1]
    assert audit_log.to_prune(made, most=6) == []
