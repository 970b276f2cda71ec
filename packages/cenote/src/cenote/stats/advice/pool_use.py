"""Advice on the use of pools: transactions that hold servers, and pool modes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cenote.model.records import PoolMode
from cenote.stats.advice.actions import growth, to_transaction_mode
from cenote.stats.advice.conditions import (
    MIN_SECONDS_FOR_AVERAGES,
    has_enough_samples,
    has_waiting_clients,
    is_held_by_sessions,
)
from cenote.stats.advice.recommendation import Advice, AdviceSeverity
from cenote.stats.advice.wording import duration, few, number, percent, waiting_numbers
from cenote.stats.facts import Facts, PoolFacts

MIN_TRANSACTION_RATE = 0.01  # per second
LONG_TRANSACTION_SECONDS = 30.0

BREAKS_IN_TRANSACTION_MODE = (
    "SET for a session, other than what the client's first message sets",
    "LISTEN",
    "advisory locks that are held for a session",
    "cursors WITH HOLD",
    "temporary tables that outlive a transaction",
    "prepared statements made by the SQL command PREPARE; those of drivers keep working",
)


def held_by_sessions(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Sessions hold servers that they rarely use."""
    if not is_held_by_sessions(one):
        return
    recent, waits = one.recent, has_waiting_clients(one)
    by = min(math.ceil(recent.waiting), facts.left) if waits else 0
    yield Advice(
        kind="try_transaction_mode",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if waits else AdviceSeverity.HINT,
        sentence=f"{number(recent.servers_active)} servers are each held by a session, and on average "
        f"{few(recent.in_transaction)} in a transaction{', while clients wait' if waits else ''}: try "
        "transaction mode, unless programs need a feature that it breaks.",
        numbers={"servers_held": recent.servers_active, "servers_in_transaction": recent.in_transaction}
        | (waiting_numbers(one, None) if waits else {}),
        since=recent.waiting_since if waits else None,
        actions=(
            to_transaction_mode(one),
            *growth(one, by),
        ),
        breaks=BREAKS_IN_TRANSACTION_MODE,
    )


def idle_in_transaction(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Transactions take much longer than their queries: servers idle in transaction."""
    recent = one.recent
    if (
        one.pool.mode is PoolMode.STATEMENT
        or not has_enough_samples(one)
        or recent.seconds < MIN_SECONDS_FOR_AVERAGES
    ):
        return
    if recent.in_transaction < max(1.0, 0.2 * one.pool.size) or recent.in_query > 0.5 * recent.in_transaction:
        return
    if recent.transactions < MIN_TRANSACTION_RATE:
        return
    idle = 1 - recent.in_query / recent.in_transaction
    lasting = recent.in_transaction / recent.transactions
    yield Advice(
        kind="idle_in_transaction",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if has_waiting_clients(one) else AdviceSeverity.HINT,
        sentence=f"Servers spend {percent(idle)} of their transactions waiting for the client: a "
        f"transaction lasts {duration(lasting)}, its queries {duration(lasting * (1 - idle))} of that. Begin "
        "transactions later and end them earlier; idle_transaction_timeout ends forgotten ones.",
        numbers={
            "transaction_seconds": lasting,
            "query_seconds": lasting * (1 - idle),
            "servers_in_transaction": recent.in_transaction,
        },
    )


def long_transactions(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Transactions hold servers for long; durations are known only of completed ones."""
    recent = one.recent
    if (
        one.pool.mode is not PoolMode.TRANSACTION
        or not has_enough_samples(one)
        or recent.seconds < MIN_SECONDS_FOR_AVERAGES
    ):
        return
    if recent.servers_active < 0.9 or recent.servers_active < LONG_TRANSACTION_SECONDS * recent.transactions:
        return
    yield Advice(
        kind="long_transactions",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if has_waiting_clients(one) else AdviceSeverity.HINT,
        sentence=f"{number(recent.servers_active)} of {one.pool.size} servers are held by transactions that "
        f"last for {duration(LONG_TRANSACTION_SECONDS)} or more. Find sessions that are idle in transaction; "
        "idle_transaction_timeout ends forgotten ones.",
        numbers={"servers_active": recent.servers_active, "transactions": recent.transactions},
    )


def statement_mode(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if one.pool.mode is PoolMode.STATEMENT:
        yield Advice(
            kind="statement_mode",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence="Statement mode rejects transactions of several statements: BEGIN is an error, and most "
            "drivers send it by themselves. It fits single statements with autocommit.",
            actions=(to_transaction_mode(one),),
        )


def no_prepared_statements(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if one.pool.mode is PoolMode.TRANSACTION and not facts.prepared_statements:
        yield Advice(
            kind="no_prepared_statements",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence="max_prepared_statements is 0: prepared statements of drivers fail in this pool, as "
            "their next use may reach another server.",
            numbers={"max_prepared_statements": 0},
        )
