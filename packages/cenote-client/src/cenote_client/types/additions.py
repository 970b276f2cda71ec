"""What a Cenote service adds to the reference, below a key ``cenote``; the hosted product has none of it."""

from __future__ import annotations

from typing import Literal, TypedDict


class ClusterAdditions(TypedDict):
    """What the cluster waits for, or what failed, in words; ``reason`` is empty when there is nothing."""

    reason: str
    failing: bool


class UserAdditions(TypedDict):
    """What the user may do with what others make; None takes it away."""

    access: Literal["readonly", "readwrite"] | None


class DatabaseAdditions(TypedDict):
    """Whose database it is, when it is not the administrator's."""

    owner: str


class ConfigAdditions(TypedDict, total=False):
    """More settings for the connection pools; times in seconds, 0 is no limit."""

    connect_query: str
    idle_transaction_timeout: int
    max_prepared_statements: int
    query_wait_timeout: int
