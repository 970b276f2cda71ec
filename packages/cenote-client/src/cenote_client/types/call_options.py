"""What every call takes besides its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Union

if TYPE_CHECKING:
    import httpx


Timeout = Union[float, "tuple[float | None, float | None, float | None, float | None]", "httpx.Timeout", None]
"""Seconds for each step of a call; or those for connect, read, write and pool; or None for no limit."""


class Call(TypedDict, total=False):
    """Options of one call.

    ``headers`` are sent besides the client's own and win over them, ``params`` are added to the query,
    ``timeout`` replaces the client's: seconds for each step, or an ``httpx.Timeout``, or None for no limit.
    """

    headers: Mapping[str, str]
    params: Mapping[str, Any]
    timeout: Timeout
