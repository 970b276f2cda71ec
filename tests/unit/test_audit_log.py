"""The audit log: which events go when there are too many or they are too old, and how ids sort."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.model.event_records import Event, Note
from cenote.store import audit_log
from cenote.store.audit_log import KEPT_FOR, MOST_OF_A_CLUSTER, MOST_OF_A_TOKEN
from cenote.store.event_ids import EventIds, milliseconds, new_id

AT = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS = (None, UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4))


def events(*tokens: UUID | None) -> list[Event]:
    """An event a minute, the last one at ``AT``."""
    times = [AT - timedelta(minutes=len(tokens) - 1 - number) for number in range(len(tokens))]
    return [
        Event(id=new_id(at), at=at, note=Note(what="a change", token_id=token))
        for at, token in zip(times, tokens, strict=True)
    ]


def ids(made: list[Event]) -> set[str]:
    return {event.id for event in made}


def test_a_later_id_sorts_after_an_earlier_one() -> None:
    made = [new_id(AT + timedelta(milliseconds=number)) for number in range(1000)]
    assert made == sorted(made)
    assert len({new_id(AT) for _ in range(1000)}) == 1000


def test_ids_never_go_backwards_when_the_clock_does() -> None:
    given = EventIds()
    times = (0, 400 * 86400, 0, 1, 0, -3600, 401 * 86400)
    made = [given.new(AT + timedelta(seconds=seconds)) for seconds in times]
    assert made == sorted(made)
    assert made[0][:12] == f"{milliseconds(AT):012x}"

    restarted = EventIds()
    restarted.saw(made[-1])
    restarted.saw("f" * 20)  # none could follow it
    restarted.saw("no id")
    assert restarted.new(AT) > made[-1]


def test_events_written_after_the_clock_was_set_back_are_kept_in_a_full_journal() -> None:
    future = [
        Event(id=new_id(event.at), at=event.at, note=event.note)
        for event in events(*(uuid4() for _ in range(MOST_OF_A_CLUSTER)))
    ]
    later = Event(id=new_id(AT - timedelta(days=30)), at=AT - timedelta(days=30), note=Note(what="x"))
    assert audit_log.to_prune([*future, later], AT - timedelta(days=30)) == [future[0].id]


def test_the_newest_of_a_cluster_are_kept() -> None:
    many = [token for token in TOKENS[1:] for _ in range(MOST_OF_A_CLUSTER // 4)]
    made = events(None, None, None, *many)
    assert audit_log.to_prune(made[3:], AT) == []
    assert set(audit_log.to_prune(made, AT)) == ids(made[:3])


@pytest.mark.parametrize(("busy", "other"), [(TOKENS[1], TOKENS[2]), (TOKENS[1], None), (None, TOKENS[1])])
def test_nobody_displaces_what_others_did(busy: UUID | None, other: UUID | None) -> None:
    made = events(*[busy] * 5, other, *[busy] * (MOST_OF_A_TOKEN - 2), other)
    assert set(audit_log.to_prune(made, AT)) == ids(made[:3])


def test_what_is_too_old_goes() -> None:
    made = events(*TOKENS[:3])
    assert set(audit_log.to_prune(made, made[1].at + KEPT_FOR)) == ids(made[:1])


@given(st.lists(st.sampled_from(TOKENS), max_size=1500))
def test_what_is_kept_stays_within_the_limits_and_is_kept_again(tokens: list[UUID | None]) -> None:
    made = events(*tokens)
    gone = set(audit_log.to_prune(made, AT))
    kept = [event for event in made if event.id not in gone]
    assert len(kept) <= MOST_OF_A_CLUSTER
    assert all(sum(event.note.token_id == token for event in kept) <= MOST_OF_A_TOKEN for token in TOKENS)
    assert audit_log.to_prune(kept, AT) == []


def test_the_oldest_rejected_requests_go_for_a_new_one_in_steps() -> None:
    made = [f"{number:04}" for number in range(500)]
    assert audit_log.oldest_beyond(made, most=501) == []
    assert audit_log.oldest_beyond(reversed(made), most=500) == made[:1]
    gone = audit_log.oldest_beyond(made, most=100)
    assert 1 < len(gone) < 100
    assert gone == made[: len(gone)]
