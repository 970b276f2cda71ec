"""The table of ``make faults``, and its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from faults import outcome
from faults.outcome import Outcome

KILLS = Outcome("kill -9 etcd", 3, 40, 2, answer=[0.1, 0.2, 1], change=[2, 2, 4], orphans=["process 7"])


def test_the_table_shows_the_median_and_the_longest_time_and_counts_what_went_wrong() -> None:
    rows = [KILLS, Outcome("upgrade", 1)]
    assert [re.split(r" {2,}", line) for line in outcome.table(rows).splitlines()] == [
        ["what", "N", "next answer, worst", "next change, worst", "answered", "torn", "lost", "orphans"],
        ["kill -9 etcd", "3", "0.200, 1.000", "2.000, 4.000", "40", "2", "0", "1"],
        ["upgrade", "1", "–", "–", "0", "0", "0", "0"],
    ]


def test_a_battery_is_clean_when_nothing_was_lost_or_left_over() -> None:
    assert not KILLS.is_clean
    assert not Outcome("upgrade", 1, lost=["a password"]).is_clean
    assert Outcome("upgrade", 1).is_clean


def test_the_file_has_the_seed_and_all_that_was_measured(tmp_path: Path) -> None:
    outcome.write([KILLS], "5eed", tmp_path / "build" / "faults.json")
    found = json.loads((tmp_path / "build" / "faults.json").read_text())
    assert found["seed"] == "5eed"
    assert found["outcomes"][0]["answer"] == [0.1, 0.2, 1]
