"""Reduces the history of a cluster's pools to the figures that advice is based on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cenote.model import catalog, parameters
from cenote.model.records import Cluster, Pool
from cenote.rules import configuration
from cenote.stats.history import MINUTE, ClusterHistory, PoolHistory, Table

RECENT_SECONDS = 120.0
HOURS_SECONDS = 24 * 3600.0
WAITING_SAMPLES = 3  # clients count as waiting while one of so many samples had some
MAX_GAP_SECONDS = 45.0  # a period of waiting includes gaps up to this length


@dataclass(frozen=True, slots=True)
class Recent:
    """A pool in the last two minutes, or since its size was changed, at its busiest pooler.

    Averages, except for ``longest_wait``.  ``waiting_share`` is the share of samples with waiting clients;
    ``waiting_since`` is None without waiting clients.  ``in_transaction`` and ``in_query`` count servers.
    """

    samples: int = 0
    seconds: float = 0.0
    clients: float = 0.0
    waiting: float = 0.0
    waiting_share: float = 0.0
    waiting_since: float | None = None
    servers_active: float = 0.0
    in_transaction: float = 0.0
    in_query: float = 0.0
    transactions: float = 0.0
    longest_wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Hours:
    """The maxima of a pool over its history and its poolers, at most a day."""

    seconds: float = 0.0
    since: float = 0.0
    servers_active: float = 0.0
    waiting: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """``all_servers_active`` are those of all poolers; without them they are those of the only one."""

    pool: Pool
    recent: Recent = Recent()
    hours: Hours = Hours()
    all_servers_active: float | None = None

    @property
    def working(self) -> float:
        """How many server connections are active on average, on all hosts."""
        return self.recent.servers_active if self.all_servers_active is None else self.all_servers_active


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The host of the server that takes writes, in the last two minutes.

    ``busy`` is the busy share of its ``processors``, ``server`` the number of them that the cluster's server
    uses, ``sessions`` are that server's current ones.
    """

    processors: int
    busy: float
    server: float
    sessions: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A cluster.

    ``connections`` is the server's max_connections, ``capacity`` the part of it for pools, ``left`` the part
    of that not allocated to any pool.  ``machine`` is None without samples of the host.
    """

    cluster_size: str
    connections: int
    capacity: int
    left: int
    query_wait_timeout: float  # seconds; 0 is none
    prepared_statements: int
    pools: tuple[PoolFacts, ...]
    machine: MachineFacts | None = None


def gather(
    cluster: Cluster, histories: Sequence[ClusterHistory], now: float, *, complete: bool = True
) -> Facts:
    """Return the facts from the history of each pooler, that of the writer's host first.

    Each pooler has the size of a pool for itself, so that is judged where it is busiest.  Unless they are
    ``complete``, it is not known what a pool needs no more.
    """
    capacity = configuration.pool_capacity(cluster)
    chosen = parameters.EXTENSION_DEFAULTS | cluster.configuration.cenote
    return Facts(
        cluster_size=cluster.size,
        connections=configuration.max_connections(cluster),
        capacity=capacity,
        left=max(0, capacity - sum(pool.size for pool in cluster.pools)),
        query_wait_timeout=_number(chosen["query_wait_timeout"]),
        prepared_statements=int(_number(chosen["max_prepared_statements"])),
        pools=tuple(_pool(pool, histories, now, complete) for pool in cluster.pools),
        machine=_machine(histories[0].machine.samples, now),
    )


def larger_sizes(cluster_size: str) -> list[tuple[str, int]]:
    """Return the sizes of the same family with more connections for pools, and how many, smallest first."""
    kind, here = cluster_size.rsplit("-", 2)[0], catalog.pool_capacity(catalog.SIZES[cluster_size])
    found = {
        slug: catalog.pool_capacity(size)
        for slug, size in catalog.SIZES.items()
        if slug.rsplit("-", 2)[0] == kind and catalog.pool_capacity(size) > here
    }
    return sorted(found.items(), key=lambda item: item[1])


def _pool(pool: Pool, histories: Sequence[ClusterHistory], now: float, complete: bool) -> PoolFacts:
    past = [history.pools[pool.name] for history in histories if pool.name in history.pools]
    if not past:
        return PoolFacts(pool)
    recent = [_recent(pool, one.samples, now) for one in past]
    hours = [_hours(one) for one in past]
    return PoolFacts(
        pool,
        max(recent, key=lambda one: (one.waiting, one.servers_active, one.samples)),
        _hours_of_all(hours) if complete else Hours(),
        sum(one.servers_active for one in recent),
    )


def _hours_of_all(found: Sequence[Hours]) -> Hours:
    """Return the maxima over all poolers, in the time for which all of them are known."""
    shortest = min(found, key=lambda one: one.seconds)
    return Hours(
        seconds=shortest.seconds,
        since=shortest.since,
        servers_active=max(one.servers_active for one in found),
        waiting=max(one.waiting for one in found),
    )


def _recent(pool: Pool, samples: Table, now: float) -> Recent:
    start = samples.since(now - RECENT_SECONDS)
    for index in range(len(samples) - 1, start - 1, -1):
        if samples["size"][index] != pool.size:
            start = index + 1
            break
    at = samples.at[start:]
    if not at:
        return Recent()

    def column(name: str) -> Sequence[float]:
        return samples[name][start:]

    waiting = column("clients_waiting")
    return Recent(
        samples=len(at),
        seconds=now - at[0],
        clients=_mean(column("clients_active")),
        waiting=_mean(waiting),
        waiting_share=sum(1 for number in waiting if number) / len(waiting),
        waiting_since=_waiting_since(samples),
        servers_active=_mean(column("servers_active")),
        in_transaction=_mean(column("in_transaction")),
        in_query=_mean(column("in_query")),
        transactions=_mean(column("transactions")),
        longest_wait=max(column("longest_wait")),
    )


def _waiting_since(samples: Table) -> float | None:
    """Return when the current period of waiting began; individual clients may have been served since."""
    waiting, last = samples["clients_waiting"], len(samples) - 1
    if not any(waiting[-WAITING_SAMPLES:]):
        return None
    found = samples.at[last]
    for index in range(last, -1, -1):
        if waiting[index]:
            found = samples.at[index]
        elif found - samples.at[index] > MAX_GAP_SECONDS:
            break
    return found


def _hours(past: PoolHistory) -> Hours:
    """Return the maxima of minutes and samples together: the newest samples are in no minute yet."""
    minutes, samples = past.minutes, past.samples
    if not len(samples):
        return Hours()
    begin = min([samples.at[0], *minutes.at[:1]])
    begin = max(begin, samples.at[-1] - HOURS_SECONDS)
    seconds = samples.at[-1] - begin
    first, row = samples.since(begin), minutes.since(begin - MINUTE)
    return Hours(
        seconds=seconds,
        since=begin,
        servers_active=max([*minutes["most_servers_active"][row:], *samples["servers_active"][first:]]),
        waiting=max([*minutes["most_clients_waiting"][row:], *samples["clients_waiting"][first:]]),
    )


def _machine(samples: Table, now: float) -> MachineFacts | None:
    start = samples.since(now - RECENT_SECONDS)
    if start == len(samples):
        return None
    return MachineFacts(
        processors=int(samples["processors"][-1]),
        busy=_mean(samples["busy"][start:]),
        server=_mean(samples["server"][start:]),
        sessions=int(samples["sessions"][-1]),
    )


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
