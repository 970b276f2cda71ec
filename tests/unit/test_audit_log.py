"""The journal: which events go when there are too many, and how ids sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from cenote.model.records import Event, Note
from cenote.store import audit_log

AT = datetime(2026, 1, 1, tzinfo=UTC)


def ids(count: int) -> list[str]:
    return [audit_log.new_id(AT + timedelta(milliseconds=number)) for number in range(count)]


def test_a_later_id_sorts_after_an_earlier_one() -> None:
    made = ids(1000)
    assert made == sorted(made)
    assert len({audit_log.new_id(AT) for _ in range(1000)}) == 1000


def event(at: datetime, token: UUID | None = None) -> Event:
    return Event(id=audit_log.new_id(at), at=at, note=Note(what="a change", token_id=token))


def test_events_stay_while_they_are_few_and_young() -> None:
    events = [event(AT + timedelta(minutes=number)) for number in range(audit_log.MOST_OF_A_CLUSTER)]
    assert audit_log.to_prune(events, AT + timedelta(days=1)) == []


def test_the_oldest_go_when_newer_ones_are_too_many() -> None:
    events = [event(AT + timedelta(minutes=number)) for number in range(audit_log.MOST_OF_A_CLUSTER + 3)]
    assert sorted(audit_log.to_prune(events, AT + timedelta(days=1))) == [one.id for one in events[:3]]


def test_an_old_event_goes_however_few_there_are() -> None:
    old, young = event(AT), event(AT + timedelta(days=50))
    assert audit_log.to_prune([old, young], AT + audit_log.KEPT_FOR + timedelta(seconds=1)) == [old.id]


def test_no_token_displaces_what_others_did() -> None:
    loud, quiet = uuid4(), uuid4()
    first = event(AT, quiet)
    many = [
        event(AT + timedelta(minutes=1 + number), loud) for number in range(audit_log.MOST_OF_A_TOKEN + 5)
    ]
    gone = audit_log.to_prune([first, *many], AT + timedelta(days=1))
    assert sorted(gone) == [one.id for one in many[:5]]


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2)), max_size=60))
def test_pruning_twice_removes_nothing_more(made: list[tuple[int, int]]) -> None:
    tokens = [None, uuid4(), uuid4()]
    events = [event(AT + timedelta(days=day), tokens[token]) for day, token in made]
    now = AT + timedelta(days=201)
    gone = set(audit_log.to_prune(events, now))
    left = [one for one in events if one.id not in gone]
    assert audit_log.to_prune(left, now) == []
    assert all(now - one.at <= audit_log.KEPT_FOR for one in left)


def test_what_is_refused_has_a_bound_of_its_own() -> None:
    made = ids(5)
    assert audit_log.oldest_beyond(made, most=5) == made[:1]
    assert audit_log.oldest_beyond(made, most=6) == []
