"""The records by kind, as the cache holds them."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Stored(msgspec.Struct, Generic[T], frozen=True):
    """A record and the revision of its last change."""

    value: T
    revision: int
