"""Advice on the pools of a cluster, derived from statistics.

Each rule is a function from the facts to recommendations, and returns none when there are too few samples;
``collecting`` says so where clients wait.
A recommendation comes with the numbers it is based on and with possible actions: a new size, another mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cenote.stats.advice import pool_size, pool_use
from cenote.stats.advice.pool_use import BREAKS_IN_TRANSACTION_MODE
from cenote.stats.advice.recommendation import Action, ActionKind, Advice, AdviceSeverity
from cenote.stats.facts import Facts, PoolFacts

__all__ = ["BREAKS_IN_TRANSACTION_MODE", "Action", "ActionKind", "Advice", "AdviceSeverity", "advise"]

# Recommendations of the same severity appear in this order.
_RULES: tuple[Callable[[PoolFacts, Facts], Iterator[Advice]], ...] = (
    pool_size.grow,
    pool_use.held_by_sessions,
    pool_use.idle_in_transaction,
    pool_use.long_transactions,
    pool_size.wait_near_timeout,
    pool_size.missing_servers,
    pool_size.shrink,
    pool_use.statement_mode,
    pool_use.no_prepared_statements,
    pool_size.takes_all_connections,
    pool_size.collecting,
)


def advise(facts: Facts) -> list[Advice]:
    """Return all advice on the pools of a cluster, the most severe first."""
    found = [*pool_size.server_connections_spent(facts)]
    for pool in facts.pools:
        for rule in _RULES:
            found += rule(pool, facts)
    order = list(AdviceSeverity)
    return sorted(found, key=lambda one: order.index(one.severity))
