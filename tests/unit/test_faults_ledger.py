"""The judge of failovers: what was acknowledged, when, and on which timeline."""

from __future__ import annotations

from pathlib import Path

from faults.ledger import Failure, Ledger, Row, longest_gap, on_two_timelines


def row(at: float, timeline: int = 1, sent: float | None = None) -> Row:
    return Row(at=at, writer=1, number=int(at * 10), timeline=timeline, sent=at if sent is None else sent)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text("+ 1.5 3 7 2 1.4\n- 2.5 4 server conn crashed?\n+ 3.5 3 8")
    assert Ledger(path).read() == (
        [Row(at=1.5, writer=3, number=7, timeline=2, sent=1.4)],
        [Failure(2.5, 4, "server conn crashed?")],
    )


def test_the_longest_gap_counts_the_time_before_the_first_row_and_after_the_last() -> None:
    assert longest_gap([row(1.0), row(3.0), row(3.5)], 0.5, 4.0) == 2.0
    assert longest_gap([row(1.0)], 0.0, 9.0) == 8.0


def test_only_what_is_sent_after_a_later_timeline_began_is_on_two() -> None:
    late = row(5.0, timeline=1, sent=2.0)  # committed before, and answered by a node that was frozen
    split = row(6.0, timeline=1, sent=5.5)
    assert on_two_timelines([row(1.0), row(4.0, timeline=2), late, split]) == [split]
