"""Options that every method takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Union

if TYPE_CHECKING:
    import httpx


Timeout = Union[float, "tuple[float | None, float | None, float | None, float | None]", "httpx.Timeout", None]
"""Seconds for each step of a call; or for connect, read, write and pool; or None for no timeout."""


class Call(TypedDict, total=False):
    """Options of one call.

    ``headers`` override the client's, ``params`` are added to the query, ``timeout`` replaces the client's:
    seconds for each step, or an ``httpx.Timeout``, or None for no timeout.
    """

    headers: Mapping[str, str]
    params: Mapping[str, Any]
    timeout: Timeout
