"""From the rows of PgBouncer's console to the numbers of a pool."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cenote.stats.observer import PoolNumbers, pool_numbers


def pools_row(database: str, user: str, **changed: int) -> dict[str, Any]:
    columns = [
        "cl_active",
        "cl_waiting",
        "sv_active",
        "sv_idle",
        "sv_used",
        "sv_tested",
        "sv_login",
        "maxwait",
        "maxwait_us",
    ]
    return {"database": database, "user": user, **dict.fromkeys(columns, 0), **changed}


def stats_row(database: str, **changed: int) -> dict[str, Any]:
    counted = [f"total_{name}" for name in ("xact_count", "query_count", "received", "sent")]
    counted += [f"total_{name}" for name in ("xact_time", "query_time", "wait_time")]
    averaged = [f"avg_{name}" for name in ("xact_count", "query_count", "recv", "sent")]
    timed = [f"avg_{name}" for name in ("xact_time", "query_time", "wait_time")]
    zeros = dict.fromkeys([*counted, *averaged, *timed], 0)
    return {"database": database, **{name: Decimal(value) for name, value in (zeros | changed).items()}}


def test_the_users_of_a_pool_are_added_up_and_the_longest_wait_is_the_longest_of_all() -> None:
    rows = [
        pools_row("orders", "app", cl_active=3, cl_waiting=1, sv_active=2, sv_idle=1, maxwait=1),
        pools_row("orders", "reports", cl_active=4, sv_used=1, sv_tested=1, sv_login=1, maxwait_us=250_000),
        pools_row("other", "app", cl_active=9, maxwait=7),
    ]
    assert pool_numbers(rows, [])["orders"] == PoolNumbers(
        clients_active=7,
        clients_waiting=1,
        servers_active=2,
        servers_idle=3,
        servers_connecting=1,
        longest_wait=1.0,
    )


def test_a_wait_is_seconds_and_microseconds() -> None:
    row = pools_row("orders", "app", maxwait=2, maxwait_us=500_000)
    assert pool_numbers([row], [])["orders"].longest_wait == 2.5


def test_times_become_seconds_and_counts_stay() -> None:
    row = stats_row(
        "orders",
        total_xact_count=10,
        total_query_count=20,
        total_wait_time=3_000_000,
        total_xact_time=2_500_000,
        total_query_time=500_000,
        avg_xact_count=5,
        avg_xact_time=1_500,
        avg_query_time=250,
        avg_wait_time=2_000_000,
    )
    numbers = pool_numbers([], [row])["orders"]
    assert (numbers.transactions, numbers.queries, numbers.waited) == (10, 20, 3.0)
    assert (numbers.in_transactions, numbers.in_queries) == (2.5, 0.5)
    assert (numbers.transaction_rate, numbers.average_transaction) == (5.0, 0.0015)
    assert (numbers.average_query, numbers.average_wait) == (0.00025, 2.0)
