"""How long tests wait for something."""

from __future__ import annotations

import itertools

import pytest

from tests.support import waiting
from tests.support.waiting import wait_until


@pytest.mark.parametrize(("patience", "expected"), [(1.0, "0.05"), (3.0, "0.15")])
def test_a_test_waits_so_many_times_longer(
    patience: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "patience", patience)
    with pytest.raises(AssertionError, match=rf"waited {expected}\d* s in vain until it is; last answer: 0"):
        wait_until("it is", 0.05, lambda: 0)


def test_a_wait_ends_before_the_limit_of_a_whole_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "patience", 3.0)
    monkeypatch.setattr(waiting, "LONGEST", 0.1)
    with pytest.raises(AssertionError, match=r"waited 0\.1 s"):
        wait_until("it is", 0.05, lambda: 0)


def test_what_becomes_true_is_returned() -> None:
    answers = itertools.chain([0, ""], itertools.repeat("there"))
    assert wait_until("it is", 60, lambda: next(answers)) == "there"
