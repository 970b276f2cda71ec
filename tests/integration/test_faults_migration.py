"""Cuts in the middle of an online migration: it goes on or says why not, and the source stays clean.

``python -m faults migration`` does the same 20 times.
"""

from __future__ import annotations

import os

import pytest

from faults import migration

TIMES = 4

pytestmark = pytest.mark.long


def test_rows_are_equal_and_the_source_is_clean_after_each_cut() -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to make the same cuts again: CENOTE_TEST_SEED={seed}")
    found = migration.battery(TIMES, seed)
    assert (found.times, found.lost, found.orphans) == (TIMES, [], [])
