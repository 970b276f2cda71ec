"""Refused calls are counted, so that a flood of them is a few entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from cenote.model.event_records import Note
from cenote.stats.rejected_requests import MAX_KINDS, OTHERS, WINDOW, RejectedRequest, RejectedRequestCounter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKEN = uuid4()


def refused(
    operation: str = "POST /v2/databases",
    *,
    seconds: float = 0,
    token: UUID | None = TOKEN,
    address: str = "192.0.2.1",
    code: int = 422,
) -> RejectedRequest:
    note = Note(what=f"{operation} by path", address=address, token_id=token, refused=code)
    return RejectedRequest(at=NOON + timedelta(seconds=seconds), operation=operation, note=note)


def test_the_first_is_told_at_once_and_the_number_of_the_others_after_a_minute() -> None:
    tally = RejectedRequestCounter()
    first = refused()
    assert tally.add(first) == first
    assert [tally.add(refused(seconds=second)) for second in range(1, 60)] == [None] * 59
    assert tally.due(NOON + timedelta(seconds=59)) == []
    [told] = tally.due(NOON + WINDOW)
    assert (told.note.count, told.at) == (59, NOON + timedelta(seconds=59))
    assert len(tally) == 0


def test_one_alone_is_told_once() -> None:
    tally = RejectedRequestCounter()
    tally.add(refused())
    assert tally.due(NOON + WINDOW) == []


def test_the_next_minute_begins_anew() -> None:
    tally = RejectedRequestCounter()
    tally.add(refused())
    tally.due(NOON + WINDOW)
    again = refused(seconds=61)
    assert tally.add(again) == again


def test_operations_codes_and_tokens_are_told_apart() -> None:
    tally = RejectedRequestCounter()
    kinds = [refused(), refused("PUT /v2/x"), refused(code=403), refused(token=uuid4())]
    assert [tally.add(one) for one in kinds] == kinds


def test_of_a_token_the_address_tells_nothing_apart_and_of_unknown_callers_it_does() -> None:
    tally = RejectedRequestCounter()
    tally.add(refused())
    assert tally.add(refused(address="192.0.2.2")) is None
    strangers = [refused(token=None, address=f"192.0.2.{number}") for number in range(3)]
    assert [tally.add(one) for one in strangers] == strangers


def test_more_kinds_than_are_told_apart_are_told_as_one() -> None:
    tally = RejectedRequestCounter()
    told = [tally.add(refused(f"DELETE /{number}")) for number in range(MAX_KINDS + 50)]
    assert [one.note.what for one in told if one][-2:] == [f"DELETE /{MAX_KINDS - 1} by path", OTHERS]
    assert sum(one is not None for one in told) == MAX_KINDS + 1
    assert [one.note.count for one in tally.due(NOON + WINDOW)] == [49]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from([TOKEN, None]),
            st.integers(0, 300),
            st.sampled_from([401, 403, 422]),
        ),
        max_size=200,
    )
)
def test_no_call_is_lost_and_a_minute_of_a_token_has_few_entries(
    calls: list[tuple[int, UUID | None, int, int]],
) -> None:
    tally, told = RejectedRequestCounter(), []
    for number, token, second, code in sorted(calls, key=lambda call: call[2]):
        told += tally.due(NOON + timedelta(seconds=second))
        one = refused(f"PUT /{number}", seconds=second, token=token, address=str(number), code=code)
        first = tally.add(one)
        told += [first] if first else []
    told += tally.due(NOON + timedelta(days=1))
    assert sum(one.note.count for one in told) == len(calls)
    for token in (TOKEN, None):
        for minute in range(6):
            begin = NOON + minute * WINDOW
            within = [one for one in told if begin <= one.at < begin + WINDOW and one.note.token_id == token]
            assert len(within) <= 3 * (MAX_KINDS + 1)


def test_the_number_of_the_others_is_told_when_the_clock_was_set_back() -> None:
    tally = RejectedRequestCounter()
    tally.add(refused())
    tally.add(refused(seconds=1))
    [told] = tally.due(NOON - timedelta(hours=1))
    assert told.note.count == 1
    assert len(tally) == 0
