"""The frames of ``cenote pool top``."""

from __future__ import annotations

from typing import Any

import pytest

from cenote.cli.pool_top import render, watch
from cenote.cli.printer import CommandError


def stats(name: str, transactions: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "size": 10,
        "poolers": 1,
        "clients": {"active": 0, "waiting": 0},
        "servers": {"active": 0, "idle": 0, "connecting": 0},
        "longest_wait_seconds": 0.0,
        "average_seconds": {"transaction": 0.0, "query": 0.0, "wait": 0.0},
        "since_start": {"transactions": transactions, "queries": 2 * transactions},
        "cluster": {"connections": 22, "allocated": 20, "left": 2},
        **fields,
    }


def test_a_picture_has_the_budget_and_a_line_for_each_pool() -> None:
    busy = stats(
        "web",
        300,
        clients={"active": 14, "waiting": 3},
        servers={"active": 10, "idle": 0, "connecting": 0},
        longest_wait_seconds=1.25,
        average_seconds={"transaction": 0.02, "query": 0.009, "wait": 0.11},
    )
    lines = render("backend", [stats("web", 100), stats("jobs")], [busy, stats("jobs")], 2.0)
    assert lines == [
        "backend: 20 of 22 connections allocated to pools, 2 available",
        "",
        "POOL  CLIENTS  WAITING  SERVERS  SIZE  TX/S  QUERIES/S   QUERY      WAIT  LONGEST",
        "web        14        3       10    10   100        200  9.0 ms  110.0 ms    1.2 s",
        "jobs        0        0        0    10     0          0       0         0        0",
    ]


def test_a_pool_that_is_new_or_counts_anew_has_no_rate() -> None:
    for before in ([], [stats("web", 5000)]):
        line = render("backend", before, [stats("web", 7)], 1.0)[-1]
        assert line.split()[5:7] == ["0", "0"]


def test_a_cluster_without_pools_says_so() -> None:
    assert render("backend", [], [], 1.0)[0] == "backend: no pools"


def test_it_needs_a_terminal() -> None:
    with pytest.raises(CommandError, match="needs a terminal"):
        watch(list, "backend", 1.0)


def test_a_pool_of_several_hosts_has_its_size_on_each_and_a_silent_one_is_named() -> None:
    three = stats("web", poolers=3, servers={"active": 25, "idle": 0, "connecting": 0})
    *_, line, last = render("backend", [], [three], 1.0, ["db-3: Host db-3 does not answer."])
    assert line.split()[3:7] == ["25", "3", "×", "10"]
    assert last == "not counted: db-3: Host db-3 does not answer."
