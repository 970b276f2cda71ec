"""The table of the benchmarks, and its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench import against, row
from bench.row import Row, ours_at_most, ratio_at_least, ratio_at_most


def test_a_ratio_is_the_median_of_neighbours_so_a_slow_moment_for_both_does_not_count() -> None:
    assert Row("start", "ms", ours=[20, 400, 22], floor=[10, 200, 11]).ratio == 2


def test_an_aim_is_met_when_every_bound_holds() -> None:
    aims = (ratio_at_most(2.5), ours_at_most(1000))
    assert Row("create", "ms", [500], [250], aims).met is True
    assert Row("create", "ms", [750], [250], aims).met is False  # three times the floor
    assert Row("create", "ms", [1200], [600], aims).met is False  # too slow whatever the floor is


def test_a_rate_must_not_fall_below_its_bound() -> None:
    assert Row("get", "/s", [90], [100], (ratio_at_least(0.9),)).met is True
    assert Row("get", "/s", [89], [100], (ratio_at_least(0.9),)).met is False


def test_a_row_without_an_aim_is_neither_met_nor_missed() -> None:
    assert Row("import", "ms", [40]).met is None


def test_the_table_shows_medians_with_their_spread_and_what_was_missed() -> None:
    rows = [
        Row("POST pool", "ms", [12, 10, 31.26], [5, 5, 5], (ours_at_most(100),)),
        Row("memory", "MiB", [212.4], aims=(ours_at_most(150),)),
    ]
    assert [re.split(r" {2,}", line) for line in row.table(rows).splitlines()] == [
        ["what", "ours", "floor", "ratio", "unit", "aim", "met"],
        ["POST pool", "12 (10–31.3)", "5 (5–5)", "2.40", "ms", "≤ 100 ms", "yes"],
        ["memory", "212", "–", "–", "MiB", "≤ 150 MiB", "NO"],
    ]


def test_two_versions_are_compared_by_the_differences_of_neighbours() -> None:
    rows = [Row("start", "ms", ours=[210, 900, 310], floor=[200, 800, 300])]
    assert [re.split(r" {2,}", line) for line in against.table(rows).splitlines()] == [
        ["what", "before", "now", "difference", "%", "unit"],
        ["start", "300", "310", "+10", "+5.0", "ms"],
    ]


def test_the_file_has_a_record_for_each_row(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    row.write([Row("login", "/s", [200, 220], [100, 100], (ratio_at_least(1.8),))], path)
    assert json.loads(path.read_text()) == [
        {
            "name": "login",
            "ours": 210,
            "floor": 100,
            "ratio": 2.1,
            "difference": 110,
            "unit": "/s",
            "aim": "≥ 1.8 ×",
            "met": True,
            "ours_spread": [200, 220],
            "floor_spread": [100, 100],
            "runs": 2,
        }
    ]
