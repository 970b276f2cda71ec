"""The conditions that advice depends on, from the facts about a pool."""

from __future__ import annotations

import math

from cenote.model.records import PoolMode
from cenote.stats.facts import Facts, PoolFacts

MIN_SAMPLES, MIN_SECONDS = 5, 10.0  # before there is any advice on current load
MIN_SECONDS_FOR_AVERAGES = 60.0  # before there is advice on averages, which long transactions distort
MIN_WAITING = 0.5  # clients on average
MIN_WAITING_SHARE = 0.3  # of the samples
RESERVE_FACTOR = 1.25  # times the maximum used, which a pool keeps


def has_waiting_clients(one: PoolFacts) -> bool:
    """Return whether clients wait regularly, not just in single samples."""
    recent = one.recent
    return (
        has_enough_samples(one)
        and recent.waiting_since is not None
        and recent.waiting >= MIN_WAITING
        and recent.waiting_share >= MIN_WAITING_SHARE
    )


def has_enough_samples(one: PoolFacts) -> bool:
    return one.recent.samples >= MIN_SAMPLES and one.recent.seconds >= MIN_SECONDS


def is_full(one: PoolFacts) -> bool:
    return one.recent.servers_active >= 0.8 * one.pool.size


def is_held_by_sessions(one: PoolFacts) -> bool:
    recent = one.recent
    return (
        one.pool.mode is PoolMode.SESSION
        and has_enough_samples(one)
        and recent.seconds >= MIN_SECONDS_FOR_AVERAGES
        and recent.servers_active >= 3
        and recent.in_transaction < 0.25 * recent.servers_active
    )


def processors_per_server(facts: Facts) -> float:
    """Return how many processors one active server connection of the cluster uses on average."""
    working = sum(one.working for one in facts.pools)
    if facts.machine is None or working < 0.1:
        return 0.0
    return facts.machine.server / working


def spare_servers(one: PoolFacts) -> int:
    """Return how many servers a pool does not need, by its history; 0 when unknown."""
    if not has_enough_samples(one) or one.hours.waiting:
        return 0
    return max(0, one.pool.size - max(1, math.ceil(one.hours.servers_active * RESERVE_FACTOR)))
