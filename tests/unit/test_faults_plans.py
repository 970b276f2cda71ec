"""What the batteries of failovers and switches draw, and the names that they have."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from faults import __main__ as batteries
from faults import failover, random_faults, switch_kills
from tests.support import small_disk

ROOT = Path(__file__).parents[2]


def test_each_victim_of_a_switch_is_killed_in_each_step_before_one_comes_again() -> None:
    pairs = len(switch_kills.STEPS) * len(switch_kills.VICTIMS)
    counts = Counter(switch_kills.plan(2 * pairs + 1, random.Random("5eed")))
    assert len(counts) == pairs
    assert sorted(set(counts.values())) == [2, 3]
    assert len(switch_kills.plan(3, random.Random("5eed"))) == 3


def test_a_seed_draws_the_same_faults_again_and_few_are_of_many_kinds() -> None:
    names = sorted(random_faults.kinds())
    [first, second] = [random_faults.drawn(names, 15, random.Random("5eed")) for _ in range(2)]
    assert first == second
    assert len(set(first)) == min(15, len(names))
    assert random_faults.drawn(names, 15, random.Random("other")) != first


def test_a_random_fault_is_of_every_kind_of_the_other_batteries() -> None:
    found = set(random_faults.kinds())
    assert found >= set(failover.FAULTS) - {"disk_full"}
    assert found >= {"switch", "killed", "grow", "shrink", "size"}


def test_what_nothing_may_fail_in_and_what_a_pair_is_tried_with_are_scenarios() -> None:
    assert set(failover.NAMES) >= failover.NOTHING_FAILS | set(failover.OF_A_PAIR)


def test_an_unknown_scenario_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no such scenario: pg_crash; there are postmaster, freeze"):
        failover.chosen(["pg_crash"], ["postmaster", "freeze"])


def test_every_battery_stands_in_the_documents() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert [name for name in batteries.NAMES if f"`{name}`" not in text] == []


def test_only_what_is_mounted_below_a_folder_is_unmounted_with_it(tmp_path: Path) -> None:
    assert small_disk.mounted_below(tmp_path) == []
    assert Path("/proc") in small_disk.mounted_below(Path("/"))
