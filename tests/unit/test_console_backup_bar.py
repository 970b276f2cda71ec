"""The bar of what can be restored, as the console draws it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cenote.console import backup_bar
from cenote.console.backup_bar import BackupBar
from cenote.console.svg import WIDTH

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def iso(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def state(*spans: tuple[float, float], gap: float | None = None) -> dict[str, Any]:
    pieces = [{"since": iso(since), "until": iso(until)} for since, until in spans]
    return {"restorable": pieces, "gap_at": None if gap is None else iso(gap)}


def made(*hours: float, type: str = "full") -> list[dict[str, Any]]:
    return [{"created_at": iso(one), "cenote": {"type": type}} for one in hours]


def test_it_begins_with_the_oldest_moment_and_ends_now() -> None:
    bar = BackupBar.of(state((-240, -120)), [*made(-240), *made(-24, type="diff")], NOW)
    assert (bar.begin, bar.end) == (NOW - timedelta(hours=240), NOW)
    [piece] = bar.pieces
    assert (piece.x, piece.width) == (0, WIDTH // 2)
    assert piece.words == "18 Nov 2026, 12:00:00 to 23 Nov 2026, 12:00:00 UTC"
    assert [(mark.x, mark.is_full) for mark in bar.marks] == [(0, True), (540, False)]
    assert len(bar.days) == 10


def test_that_of_a_new_cluster_spans_ten_minutes() -> None:
    bar = BackupBar.of(state((-1 / 12, 0)), made(-1 / 12), NOW)
    assert bar.begin == NOW - timedelta(minutes=10)
    assert [(piece.x, piece.width) for piece in bar.pieces] == [(WIDTH // 2, WIDTH // 2)]


def test_a_gap_lies_between_two_pieces_or_after_the_last() -> None:
    covered = BackupBar.of(state((-168, -84), (-42, 0), gap=-84), made(-168, -42), NOW)
    assert [(gap.x, gap.width) for gap in covered.gaps] == [(300, 150)]
    still = BackupBar.of(state((-168, -84), gap=-84), made(-168), NOW)
    assert [(gap.x, gap.width) for gap in still.gaps] == [(300, 300)]
    assert BackupBar.of(state((-168, -84)), made(-168), NOW).gaps == ()


def test_what_is_short_is_still_seen_and_a_clock_behind_the_backup_breaks_nothing() -> None:
    bar = BackupBar.of(state((0, 0)), made(0), NOW)
    assert [(piece.x, piece.width) for piece in bar.pieces] == [(WIDTH - 2, 2)]
    behind = BackupBar.of(state((1, 1)), made(1), NOW)
    assert behind.end == NOW + timedelta(hours=1)


@given(st.lists(st.tuples(st.integers(-2000, 100), st.integers(0, 500)), min_size=1, max_size=2))
def test_all_of_it_lies_on_the_bar(lengths: list[tuple[int, int]]) -> None:
    spans = [(since, since + length) for since, length in sorted(lengths)]
    bar = BackupBar.of(state(*spans), made(*(since for since, _ in spans)), NOW)
    assert all(piece.x >= 0 and piece.x + piece.width <= WIDTH for piece in (*bar.pieces, *bar.gaps))
    assert all(0 <= x <= WIDTH for x in (*bar.days, *(mark.x for mark in bar.marks)))


def test_the_sentence_says_what_the_bar_shows() -> None:
    assert backup_bar.in_words(state()) == ""
    assert backup_bar.in_words(state((-48, -24), (-12, 0), gap=-24)) == (
        "Any second from 26 Nov 2026, 12:00:00 to 27 Nov 2026, 12:00:00 UTC"
        " and from 28 Nov 2026, 00:00:00 to 28 Nov 2026, 12:00:00 UTC can be restored."
    )
