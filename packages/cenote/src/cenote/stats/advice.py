"""Advice in words on the pools of a cluster, from what was seen of them.  Pure.

Each rule is a function from the facts to what it has to say, and says nothing when too little was seen.
What a word rests on goes with it, and so does what could be done: a new size, or another mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from cenote.model.records import PoolMode
from cenote.stats.facts import Facts, MachineFacts, PoolFacts, larger_sizes

ENOUGH_SAMPLES, ENOUGH_SECONDS = 5, 10.0  # before anything is said of what goes on
LONG_ENOUGH = 60.0  # before anything is said of averages, which long transactions make jump
IDLE_HOURS = 2
WAITS = 0.5  # clients on average, from which on they are said to wait
OFTEN = 0.3  # of the samples
BUSY = 0.85  # share of the processors, from which on they are not idle
LIGHT = 0.05  # processors that a server takes that mostly waits for something else
RESERVE = 1.25  # times the most that was needed, which a pool keeps
NEAR = 0.9  # of a limit
RARE = 0.01  # transactions a second
LONG = 30.0  # seconds that a transaction holds a server, from which on it is worth a word

BREAKS_IN_TRANSACTION_MODE = (
    "SET for a session, other than what the client's first message sets",
    "LISTEN",
    "advisory locks that are held for a session",
    "cursors WITH HOLD",
    "temporary tables that outlive a transaction",
    "prepared statements made by the SQL command PREPARE; those of drivers go on working",
)


class AdviceSeverity(StrEnum):
    PROBLEM = "problem"  # clients suffer at this moment
    HINT = "hint"  # something could be better
    NOTE = "note"  # good to know


class ActionKind(StrEnum):
    RESIZE_POOL = "resize_pool"
    CHANGE_MODE = "change_mode"
    RESIZE_CLUSTER = "resize_cluster"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What could be done, with the words of a button.  ``pool`` may be another than the advice is for."""

    kind: ActionKind
    words: str
    pool: str = ""
    size: int = 0
    mode: PoolMode | None = None
    cluster_size: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """``numbers`` is what it rests on; ``since`` in seconds of the epoch; an empty ``pool``: all of them."""

    kind: str
    pool: str
    severity: AdviceSeverity
    sentence: str
    numbers: dict[str, float] = {}
    since: float | None = None
    actions: tuple[Action, ...] = ()
    breaks: tuple[str, ...] = ()  # what an action would break


def advise(facts: Facts) -> list[Advice]:
    """Return all advice on the pools of a cluster, the most pressing first."""
    found = [*_crowded(facts)]
    for pool in facts.pools:
        for rule in _RULES:
            found += rule(pool, facts)
    order = list(AdviceSeverity)
    return sorted(found, key=lambda one: order.index(one.severity))


# -- What was seen of a pool just now


def _waits(one: PoolFacts) -> bool:
    """Return whether clients wait, and not by chance."""
    recent = one.recent
    return (
        _seen(one)
        and recent.waiting_since is not None
        and recent.waiting >= WAITS
        and recent.waiting_share >= OFTEN
    )


def _seen(one: PoolFacts) -> bool:
    return one.recent.samples >= ENOUGH_SAMPLES and one.recent.seconds >= ENOUGH_SECONDS


def _is_full(one: PoolFacts) -> bool:
    return one.recent.servers_active >= 0.8 * one.pool.size


def _is_held_by_sessions(one: PoolFacts) -> bool:
    recent = one.recent
    return (
        one.pool.mode is PoolMode.SESSION
        and _seen(one)
        and recent.seconds >= LONG_ENOUGH
        and recent.servers_active >= 3
        and recent.in_transaction < 0.25 * recent.servers_active
    )


def _load(facts: Facts) -> float:
    """Return how many processors one working server of the cluster takes, on average."""
    working = sum(one.recent.servers_active for one in facts.pools)
    if facts.machine is None or working < 0.1:
        return 0.0
    return facts.machine.server / working


# -- Rules


def _grow(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait for servers: more of them help as long as there are processors for them."""
    if not _waits(one) or not _is_full(one) or _is_held_by_sessions(one):
        return
    load, machine, recent = _load(facts), facts.machine, one.recent
    wanted = math.ceil(recent.waiting)
    if machine is not None and load > LIGHT:
        idle = max(0.0, 1 - machine.busy) * machine.processors
        wanted = 0 if machine.busy >= BUSY else min(wanted, math.floor(idle / load))
    numbers = _waiting_numbers(one, machine)
    if wanted < 1:
        assert machine is not None
        yield Advice(
            kind="busy",
            pool=one.pool.name,
            severity=AdviceSeverity.PROBLEM,
            sentence=f"{_waiting_clients(one)}, and {_percent(machine.busy)} of the processors are busy: "
            "do not grow the pool, which makes every query slower. Look for the queries that take the most "
            "time.",
            numbers=numbers,
            since=recent.waiting_since,
        )
        return
    by = min(wanted, facts.left)
    begin = _waiting_clients(one) + ("" if machine is None else f", {_while(machine, load)}")
    if by:
        short = f" It could use {wanted}; no more are left." if by < wanted else ""
        sentence = f"{begin}: grow the pool by {by}, to {one.pool.size + by}.{short}"
    else:
        sentence = (
            f"{begin}: {_plural(wanted, 'more connection', 'more connections')} would help, and none is left."
        )
    yield Advice(
        kind="grow",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=sentence,
        numbers=numbers | {"grow_by": by, "wanted": wanted, "left": facts.left},
        since=recent.waiting_since,
        actions=(*_growth(one, by), *(_elsewhere(one, facts, wanted - by) if by < wanted else ())),
    )


def _held(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Transactions take much longer than their queries: servers wait for their clients."""
    recent = one.recent
    if one.pool.mode is PoolMode.STATEMENT or not _seen(one) or recent.seconds < LONG_ENOUGH:
        return
    if recent.in_transaction < max(1.0, 0.2 * one.pool.size) or recent.in_query > 0.5 * recent.in_transaction:
        return
    if recent.transactions < RARE:
        return
    idle = 1 - recent.in_query / recent.in_transaction
    lasting = recent.in_transaction / recent.transactions
    yield Advice(
        kind="idle_in_transaction",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if _waits(one) else AdviceSeverity.HINT,
        sentence=f"Servers spend {_percent(idle)} of their transactions waiting for the client: a "
        f"transaction lasts {_time(lasting)}, its queries {_time(lasting * (1 - idle))} of that. Begin "
        "transactions later and end them earlier; idle_transaction_timeout ends those that were forgotten.",
        numbers={
            "transaction_seconds": lasting,
            "query_seconds": lasting * (1 - idle),
            "servers_in_transaction": recent.in_transaction,
        },
    )


def _long(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Transactions hold servers for long; how long is known only of those that have ended."""
    recent = one.recent
    if one.pool.mode is not PoolMode.TRANSACTION or not _seen(one) or recent.seconds < LONG_ENOUGH:
        return
    if recent.servers_active < 0.9 or recent.servers_active < LONG * recent.transactions:
        return
    yield Advice(
        kind="long_transactions",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if _waits(one) else AdviceSeverity.HINT,
        sentence=f"{_number(recent.servers_active)} of {one.pool.size} servers are held by transactions that "
        f"last for {_time(LONG)} or more. Look for sessions that are idle in transaction; "
        "idle_transaction_timeout ends those that were forgotten.",
        numbers={"servers_active": recent.servers_active, "transactions": recent.transactions},
    )


def _sessions(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Sessions hold servers that they hardly use."""
    if not _is_held_by_sessions(one):
        return
    recent, waits = one.recent, _waits(one)
    by = min(math.ceil(recent.waiting), facts.left) if waits else 0
    yield Advice(
        kind="try_transaction_mode",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM if waits else AdviceSeverity.HINT,
        sentence=f"{_number(recent.servers_active)} servers are each held by a session, and on average "
        f"{_few(recent.in_transaction)} in a transaction{', while clients wait' if waits else ''}: try "
        "transaction mode, unless programs need what it breaks.",
        numbers={"servers_held": recent.servers_active, "servers_in_transaction": recent.in_transaction}
        | (_waiting_numbers(one, None) if waits else {}),
        since=recent.waiting_since if waits else None,
        actions=(
            Action(
                kind=ActionKind.CHANGE_MODE,
                pool=one.pool.name,
                mode=PoolMode.TRANSACTION,
                words="Change to transaction mode",
            ),
            *_growth(one, by),
        ),
        breaks=BREAKS_IN_TRANSACTION_MODE,
    )


def _give_back(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Servers that nobody has needed for hours."""
    spare = 0 if _waits(one) else _spare(one)
    if spare < max(1, one.pool.size // 5) or one.hours.seconds < IDLE_HOURS * 3600:
        return
    hours = math.floor(one.hours.seconds / 3600)
    most = int(one.hours.servers_active)
    used = "Nobody has used it" if not most else f"At most {most} of {one.pool.size} servers were busy"
    yield Advice(
        kind="give_back",
        pool=one.pool.name,
        severity=AdviceSeverity.HINT,
        sentence=f"{used} in {hours} hours: give {spare} back, for other pools to have.",
        numbers={"most_servers_active": most, "hours": hours, "give_back": spare},
        since=one.hours.since,
        actions=(_resize(one, one.pool.size - spare),),
    )


def _timeout(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait nearly as long as they may."""
    limit, longest = facts.query_wait_timeout, one.recent.longest_wait
    if not _seen(one) or not limit or longest < 0.5 * limit:
        return
    yield Advice(
        kind="wait_timeout",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=f"A client has waited for {_time(longest)}; after {_time(limit)} (query_wait_timeout) it is "
        "disconnected with an error.",
        numbers={"longest_wait": longest, "query_wait_timeout": limit},
        since=one.recent.waiting_since,
    )


def _no_servers(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    """Clients wait although the pool has not the servers that it may have."""
    if not _waits(one) or one.recent.servers_active >= 0.5 * one.pool.size:
        return
    yield Advice(
        kind="no_servers",
        pool=one.pool.name,
        severity=AdviceSeverity.PROBLEM,
        sentence=f"{_waiting_clients(one)}, though the pool may have {one.pool.size}: its size is not what "
        "they wait for. PostgreSQL takes no connections, as while it restarts, or refuses this pool's.",
        numbers=_waiting_numbers(one, facts.machine),
        since=one.recent.waiting_since,
    )


def _statement_mode(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if one.pool.mode is PoolMode.STATEMENT:
        yield Advice(
            kind="statement_mode",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence="Statement mode refuses transactions of several statements: BEGIN is an error, and most "
            "drivers begin one by themselves. It fits single statements with autocommit.",
            actions=(
                Action(
                    kind=ActionKind.CHANGE_MODE,
                    pool=one.pool.name,
                    mode=PoolMode.TRANSACTION,
                    words="Change to transaction mode",
                ),
            ),
        )


def _unprepared(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if one.pool.mode is PoolMode.TRANSACTION and not facts.prepared_statements:
        yield Advice(
            kind="no_prepared_statements",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence="max_prepared_statements is 0: statements that drivers prepare fail in this pool, as "
            "their next use may come to another server.",
            numbers={"max_prepared_statements": 0},
        )


def _takes_all(one: PoolFacts, facts: Facts) -> Iterator[Advice]:
    if len(facts.pools) == 1 and one.pool.size >= NEAR * facts.capacity:
        yield Advice(
            kind="takes_all",
            pool=one.pool.name,
            severity=AdviceSeverity.NOTE,
            sentence=f"This pool may take {one.pool.size} of the {facts.capacity} connections: sessions that "
            "come directly, such as migrations and psql, can find none when it is busy.",
            numbers={"size": one.pool.size, "capacity": facts.capacity},
        )


_RULES: tuple[Callable[[PoolFacts, Facts], Iterator[Advice]], ...] = (
    *(_grow, _sessions, _held, _long, _timeout, _no_servers),
    *(_give_back, _statement_mode, _unprepared, _takes_all),
)


def _crowded(facts: Facts) -> Iterator[Advice]:
    """The server has nearly no connections left, and not because of the pools alone."""
    machine = facts.machine
    if machine is None or machine.sessions < NEAR * facts.connections:
        return
    yield Advice(
        kind="connections_spent",
        pool="",
        severity=AdviceSeverity.PROBLEM,
        sentence=f"PostgreSQL has {machine.sessions} of the {facts.connections} sessions that it takes: "
        "pools may get no further ones. Have programs use a pool that connect directly, or resize "
        "the cluster.",
        numbers={"sessions": machine.sessions, "connections": facts.connections},
    )


# -- What could be done


def _growth(one: PoolFacts, by: int) -> tuple[Action, ...]:
    return (_resize(one, one.pool.size + by),) if by > 0 else ()


def _elsewhere(one: PoolFacts, facts: Facts, wanted: int) -> Iterator[Action]:
    """Where connections could come from when none is left: a pool that idles, or a larger cluster."""
    others = [other for other in facts.pools if other is not one and _spare(other) > 0]
    if others:
        idlest = max(others, key=_spare)
        yield _resize(idlest, idlest.pool.size - min(_spare(idlest), wanted))
    for slug, capacity in larger_sizes(facts.cluster_size):
        if capacity >= facts.capacity + wanted:
            yield Action(
                kind=ActionKind.RESIZE_CLUSTER,
                cluster_size=slug,
                words=f"Resize the cluster to {slug}, with {capacity} connections for pools",
            )
            return


def _spare(one: PoolFacts) -> int:
    """Return how many servers a pool could give back, as far as it is known."""
    if not _seen(one) or one.hours.waiting:
        return 0
    return max(0, one.pool.size - max(1, math.ceil(one.hours.servers_active * RESERVE)))


def _resize(one: PoolFacts, size: int) -> Action:
    verb = "Grow" if size > one.pool.size else "Shrink"
    return Action(
        kind=ActionKind.RESIZE_POOL,
        pool=one.pool.name,
        size=size,
        words=f"{verb} {one.pool.name} from {one.pool.size} to {size}",
    )


# -- Words


def _waiting_clients(one: PoolFacts) -> str:
    waiting, servers = one.recent.waiting, one.recent.servers_active
    clients = "client waits" if waiting <= 1 else "clients wait"
    return f"On average {_number(waiting)} {clients}, with {_number(servers)} of {one.pool.size} servers busy"


def _waiting_numbers(one: PoolFacts, machine: MachineFacts | None) -> dict[str, float]:
    recent = one.recent
    found = {
        "clients_waiting": recent.waiting,
        "servers_active": recent.servers_active,
        "longest_wait": recent.longest_wait,
    }
    return found if machine is None else found | {"processors_busy": machine.busy}


def _while(machine: MachineFacts, load: float) -> str:
    if machine.busy < BUSY:
        return f"while {_percent(1 - machine.busy)} of the processors are idle"
    return "while the pool's queries take hardly any processor time"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or abs(value - round(value)) < 0.05 else f"{value:.1f}"


def _few(value: float) -> str:
    if value < 0.05:
        return "hardly any of them is"
    return f"{_number(value)} of them {'is' if value <= 1 else 'are'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{_number(seconds)} s"
    return f"{1000 * seconds:.3g} ms"


def _plural(number: int, one: str, more: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {more}"
