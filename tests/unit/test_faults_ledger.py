"""What a judge reads of a ledger that is being written."""

from __future__ import annotations

from pathlib import Path

from faults.ledger import Failure, Ledger, Row


def test_each_line_is_read_once_and_one_that_is_being_written_later(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.touch()
    ledger = Ledger(path)
    assert ledger.read() == ([], [])
    with path.open("a") as file:
        file.write("+ 1.5000 3 1 7 1.2500\n- 1.6000 4 server closed the connection\n+ 1.7")
    rows, failures = ledger.read()
    assert rows == [Row(1.5, 3, 1, 7, 1.25)]
    assert failures == [Failure(1.6, 4, "server closed the connection")]
    with path.open("a") as file:
        file.write("000 3 2 7 1.6500\n")
    assert ledger.read() == ([*rows, Row(1.7, 3, 2, 7, 1.65)], failures)
    assert ledger.read() == ([*rows, Row(1.7, 3, 2, 7, 1.65)], failures)
    assert len(rows) == 1  # what was returned stays as it was
