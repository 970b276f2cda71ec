"""Counters of reconciliation passes and of responses of the API."""

from __future__ import annotations

from uuid import uuid4

from cenote.stats.counters import Passes, PassResult, Requests


def test_a_node_is_behind_from_its_first_unfinished_pass_until_one_is_done() -> None:
    passes, one, other = Passes(), uuid4(), uuid4()
    assert passes.behind() == 0
    first = passes.begin(one)
    passes.end(one, PassResult.WAITING, first)
    passes.end(one, PassResult.FAILED, passes.begin(one))
    later = passes.behind()
    assert passes.behind() >= later > 0
    passes.end(other, PassResult.DONE, passes.begin(other))
    assert passes.behind() >= later
    passes.end(one, PassResult.DONE, passes.begin(one))
    passes.skip()
    assert passes.behind() == 0
    assert passes.outcomes == {
        PassResult.DONE: 2,
        PassResult.WAITING: 1,
        PassResult.FAILED: 1,
        PassResult.QUIET: 1,
    }
    assert sum(passes.seconds.counts) == 4


def test_a_node_that_is_forgotten_is_not_behind() -> None:
    passes, one = Passes(), uuid4()
    passes.begin(one)
    passes.forget(one)
    assert passes.behind() == 0


def test_responses_are_counted_by_status_and_timed_by_operation() -> None:
    requests = Requests()
    for status in (200, 200, 404):
        requests.add("GET", "/v2/databases", status, 0.003)
    assert requests.responses == {("GET", "/v2/databases", 200): 2, ("GET", "/v2/databases", 404): 1}
    [histogram] = requests.seconds.values()
    assert sum(histogram.counts) == 3
    assert histogram.counts[3] == 3  # up to 5 ms
