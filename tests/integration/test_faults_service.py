"""``kill -9`` of the service at any moment: what was answered stays, what was not is whole or gone.

``make faults`` does the same 300 times for each process.
"""

from __future__ import annotations

import os

import pytest

from faults import kills

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("target", "times"), [("supervisor", 6), ("etcd", 3)])
def test_nothing_that_was_answered_is_lost_and_nothing_is_left_over(target: str, times: int) -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to work through the same wishes again: CENOTE_TEST_SEED={seed}")
    found = kills.battery(target, times, seed)
    print(f"requests answered, torn: {found.answered, found.torn}")
    assert (found.times, found.lost, found.orphans) == (times, [], [])
    assert found.answered > 0
    if target == "supervisor":
        assert found.torn > 0
