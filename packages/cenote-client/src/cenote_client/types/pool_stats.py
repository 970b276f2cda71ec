"""Statistics of connection pools, current and past, and recommendations."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .pools import PoolMode


class PoolClients(TypedDict):
    """Clients with a server connection, and clients waiting for one."""

    active: int
    waiting: int


class PoolServers(TypedDict):
    """Connections of a pool to PostgreSQL."""

    active: int
    idle: int
    connecting: int


class PoolRates(TypedDict):
    """Rates per second."""

    transactions: float
    queries: float
    received_bytes: float
    sent_bytes: float


class PoolAverages(TypedDict):
    """Average durations in seconds."""

    transaction: float
    query: float
    wait: float


class PoolTotals(TypedDict):
    """Totals since PgBouncer was started."""

    transactions: int
    queries: int
    received_bytes: int
    sent_bytes: int
    wait_seconds: float


class PoolRoom(TypedDict):
    """Server connections of the cluster for pools: their limit, allocated, left."""

    connections: int
    allocated: int
    left: int


class PoolStats(TypedDict):
    """Current statistics of a pool over so many ``poolers``, one on each host, each with this ``size``.

    Rates and averages cover the last ``period_seconds``.
    """

    name: str
    size: int
    poolers: int
    clients: PoolClients
    servers: PoolServers
    longest_wait_seconds: float
    per_second: PoolRates
    average_seconds: PoolAverages
    period_seconds: int
    since_start: PoolTotals
    cluster: PoolRoom


class PoolStatsResponse(TypedDict):
    """``not_counted`` names the hosts whose poolers did not answer, and why."""

    stats: PoolStats
    not_counted: NotRequired[list[str]]


class PoolStatsListResponse(TypedDict):
    """``not_counted`` names the hosts whose poolers did not answer, and why."""

    stats: list[PoolStats]
    not_counted: NotRequired[list[str]]


class PoolPast(TypedDict):
    """Time series of a pool over the poolers of all hosts; ``at`` are Unix times in seconds."""

    name: str
    at: list[float]
    size: list[float]
    clients_active: list[float]
    clients_waiting: list[float]
    servers_active: list[float]
    longest_wait_seconds: list[float]
    transactions_per_second: list[float]
    queries_per_second: list[float]
    waiting: list[float]
    in_transaction: list[float]
    in_query: list[float]


class MachinePast(TypedDict):
    """Time series of the cluster's host: the busy share of its CPUs, and the CPUs that PostgreSQL used."""

    at: list[float]
    busy: list[float]
    server: list[float]
    sessions: list[float]


class PoolConnections(TypedDict):
    """Connections of the server: reserved for maintenance, allocated to pools, and left."""

    all: int
    reserved: int
    allocated: int
    left: int
    sessions: int | None


class PoolHistory(TypedDict):
    pools: list[PoolPast]
    machine: MachinePast
    connections: PoolConnections
    not_counted: NotRequired[list[str]]


class PoolHistoryResponse(TypedDict):
    history: PoolHistory


class PoolAction(TypedDict):
    """A recommended action, as text and as the arguments of the call for it."""

    kind: Literal["resize_pool", "change_mode", "resize_cluster"]
    words: str
    pool: NotRequired[str]
    size: NotRequired[int]
    mode: NotRequired[PoolMode]
    cluster_size: NotRequired[str]


class PoolAdvice(TypedDict):
    """A recommendation for one pool, or for all if ``pool`` is missing; ``breaks`` lists what may break."""

    kind: str
    pool: NotRequired[str]
    severity: Literal["problem", "hint", "note"]
    sentence: str
    numbers: dict[str, float]
    since: NotRequired[str]
    actions: list[PoolAction]
    breaks: list[str]


class PoolAdviceResponse(TypedDict):
    """``not_counted`` names the hosts whose poolers did not answer, and why."""

    advice: list[PoolAdvice]
    not_counted: NotRequired[list[str]]
