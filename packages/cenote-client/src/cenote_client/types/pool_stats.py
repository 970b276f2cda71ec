"""What went on in pools, and advice on them."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .pools import PoolMode


class PoolClients(TypedDict):
    """``waiting`` are those whose query waits for a server connection."""

    active: int
    waiting: int


class PoolServers(TypedDict):
    """Connections of a pool to PostgreSQL."""

    active: int
    idle: int
    connecting: int


class PoolRates(TypedDict):
    """How many of each in a second."""

    transactions: float
    queries: float
    received_bytes: float
    sent_bytes: float


class PoolAverages(TypedDict):
    """Seconds that one of each has taken."""

    transaction: float
    query: float
    wait: float


class PoolTotals(TypedDict):
    """Since the pooler of the cluster was started."""

    transactions: int
    queries: int
    received_bytes: int
    sent_bytes: int
    wait_seconds: float


class PoolRoom(TypedDict):
    """Server connections of the cluster: all that pools may have, what they have been given, what is left."""

    connections: int
    allocated: int
    left: int


class PoolStats(TypedDict):
    """What goes on in a pool; rates and averages are of the last whole period of ``period_seconds``."""

    name: str
    size: int
    clients: PoolClients
    servers: PoolServers
    longest_wait_seconds: float
    per_second: PoolRates
    average_seconds: PoolAverages
    period_seconds: int
    since_start: PoolTotals
    cluster: PoolRoom


class PoolStatsResponse(TypedDict):
    stats: PoolStats


class PoolStatsListResponse(TypedDict):
    stats: list[PoolStats]


class PoolPast(TypedDict):
    """One number in each list for each time in ``at``, in seconds of the Unix epoch."""

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
    """Of the cluster's host: the share of its processors that was busy, and how many the server kept busy."""

    at: list[float]
    busy: list[float]
    server: list[float]
    sessions: list[float]


class PoolConnections(TypedDict):
    """The connections that the server takes: kept for maintenance, given to pools, left for further ones."""

    all: int
    reserved: int
    allocated: int
    left: int
    sessions: int | None


class PoolHistory(TypedDict):
    pools: list[PoolPast]
    machine: MachinePast
    connections: PoolConnections


class PoolHistoryResponse(TypedDict):
    history: PoolHistory


class PoolAction(TypedDict):
    """What could be done, in words and as values for the call that does it."""

    kind: Literal["resize_pool", "change_mode", "resize_cluster"]
    words: str
    pool: NotRequired[str]
    size: NotRequired[int]
    mode: NotRequired[PoolMode]
    cluster_size: NotRequired[str]


class PoolAdvice(TypedDict):
    """Advice on one pool, or on all when ``pool`` is missing; ``breaks`` is what an action would break."""

    kind: str
    pool: NotRequired[str]
    severity: Literal["problem", "hint", "note"]
    sentence: str
    numbers: dict[str, float]
    since: NotRequired[str]
    actions: list[PoolAction]
    breaks: list[str]


class PoolAdviceResponse(TypedDict):
    advice: list[PoolAdvice]
