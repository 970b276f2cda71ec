"""The configuration of MongoDB."""

from __future__ import annotations

from typing import Literal, TypedDict


class MongoConfig(TypedDict, total=False):
    """The configuration of a MongoDB cluster."""

    default_read_concern: Literal["local", "available", "majority"]
    default_write_concern: str
    transaction_lifetime_limit_seconds: int
    slow_op_threshold_ms: int
    verbosity: int
