"""Advice on the size of pools: too small, too large, or not the cause of waiting."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cenote.stats.advice.actions import growth, other_sources, resize
from cenote.stats.advice.conditions import (
    MIN_SAMPLES,
    has_enough_samples,
    has_waiting_clients,
    is_full,
    is_held_by_sessions,
    processors_per_server,
    spare_servers,
)
from cenote.stats.advice.recommendation import Advice, AdviceSeverity
from cenote.stats.advice.wording import (
    BUSY_SHARE,
    duration,
    percent,
    plural,
    waiting_clients,
    waiting_numbers,
    while_idle,
)
from cenote.stats.facts import Facts, MachineFacts, PoolFacts

MIN_IDLE_HOURS = 2
MIN_PROCESSORS_PER_SERVER = 0.05  # below, a server mostly waits for something other than the processor
NEARLY_ALL = 0.9


def collecting(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """There are too few samples to judge a pool whose clients wait, or that was not looked at yet."""
    recent = one.recent
    if has_enough_samples(one) or (recent.samples and recent.waiting_since is None):
        return
    samples = min(recent.samples, MIN_SAMPLES - 1)  # the last one may have come before enough time has passed
    yield Advice(
        kind="collecting",
        pool=one.pool.name,
        severity=AdviceSeverity.NOTE,
        sentence=("Clients wait; collecting" if recent.samples else "Collecting")
        + f" ({samples} of {MIN_SAMPLES} samples).",
        numbers={"samples": samples, "needed": MIN_SAMPLES, "clients_waiting": recent.waiting},
        since=recent.waiting_since,
    )


def grow(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait for servers: a larger pool helps as long as processors are idle."""
    if not has_waiting_clients(one) or not is_full(one) or is_held_by_sessions(one):
        return
    load, machine, recent = processors_per_server(facts), facts.machine, one.recent
    wanted = math.ceil(recent.waiting)
    if machine is not None and load > MIN_PROCESSORS_PER_SERVER:
        idle = max(0.0, 1 - machine.busy) * machine.processors
        wanted = 0 if machine.busy >= BUSY_SHARE else min(wanted, math.floor(idle / load))
    if machine is not None and wanted < 1:
        yield _processors_busy(one, machine)
        return
    by = min(wanted, facts.left)
    begin = waiting_clients(one) + ("" if machine is None else f", {while_idle(machine, load)}")
    if by:
        short = f" It could use {wanted}, but no more are left." if by < wanted else ""
        sentence = f"{begin}: grow the pool by {by}, to {one.pool.size + by}.{short}"
    else:
        sentence = (
            f"{begin}: {plural(wanted, 'more connection', 'more connections')} would help, but none are left."
        )
    yield Advice(
        kind="grow",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=sentence,
        numbers=waiting_numbers(one, machine) | {"grow_by": by, "wanted": wanted, "left": facts.left},
        since=recent.waiting_since,
        actions=(*growth(one, by), *(other_sources(one, facts, wanted - by) if by < wanted else ())),
    )


def _processors_busy(one: PoolFacts, machine: MachineFacts) -> Advice:
    return Advice(
        kind="busy",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=f"{waiting_clients(one)}, and {percent(machine.busy)} of the processors are busy: "
        "do not grow the pool, which would slow down every query. Find the queries that take the most time.",
        numbers=waiting_numbers(one, machine),
        since=one.recent.waiting_since,
    )


def shrink(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Servers have been idle for hours."""
    spare = 0 if has_waiting_clients(one) else spare_servers(one)
    if spare < max(1, one.pool.size // 5) or one.hours.seconds < MIN_IDLE_HOURS * 3600:
        return
    hours = math.floor(one.hours.seconds / 3600)
    most = int(one.hours.servers_active)
    used = "The pool was not used" if not most else f"At most {most} of {one.pool.size} servers were busy"
    yield Advice(
        kind="give_back",
        pool=one.pool.name,
        severity=AdviceSeverity.HINT,
        sentence=f"{used} in {hours} hours: shrink the pool by {spare}, to free connections for other pools.",
        numbers={"most_servers_active": most, "hours": hours, "give_back": spare},
        since=one.hours.since,
        actions=(resize(one, one.pool.size - spare),),
    )


def wait_near_timeout(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait nearly as long as query_wait_timeout."""
    limit, longest = facts.query_wait_timeout, one.recent.longest_wait
    if not has_enough_samples(one) or not limit or longest < 0.5 * limit:
        return
    yield Advice(
        kind="wait_timeout",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=f"A client has waited for {duration(longest)}; after {duration(limit)} (query_wait_timeout) "
        "it is disconnected with an error.",
        numbers={"longest_wait": longest, "query_wait_timeout": limit},
        since=one.recent.waiting_since,
    )


def missing_servers(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait although the pool has fewer servers than its size allows."""
    if not has_waiting_clients(one) or one.recent.servers_active >= 0.5 * one.pool.size:
        return
    yield Advice(
        kind="no_servers",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=f"{waiting_clients(one)}, though the pool may have {one.pool.size}: its size is not what "
        "they wait for. PostgreSQL accepts no connections, as during a restart, or rejects this pool's.",
        numbers=waiting_numbers(one, facts.machine),
        since=one.recent.waiting_since,
    )


def takes_all_connections(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if len(facts.pools) == 1 and one.pool.size >= NEARLY_ALL * facts.capacity:
        yield Advice(
            kind="takes_all",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence=f"This pool may take {one.pool.size} of the {facts.capacity} connections: direct "
            "connections, such as of migrations and psql, may find none left when it is busy.",
            numbers={"size": one.pool.size, "capacity": facts.capacity},
        )


def server_connections_spent(facts: Facts) -> Iterator[Advice]:
    """The server has nearly no connections left, and direct ones have a part in it."""
    machine = facts.machine
    if machine is None or machine.sessions < NEARLY_ALL * facts.connections:
        return
    yield Advice(
        kind="connections_spent",
        pool="",
        severity=AdviceSeverity.PROBLEM,
        sentence=f"PostgreSQL has {machine.sessions} of at most {facts.connections} sessions: pools may "
        "not be able to open more. Let programs that connect directly use a pool, or resize the cluster.",
        numbers={"sessions": machine.sessions, "connections": facts.connections},
    )
