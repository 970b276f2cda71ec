"""What went on in pools, and advice on them."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .pools import PoolMode


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
