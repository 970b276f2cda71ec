"""Selects one of the connections of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import AnswerError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping


def pool_uri_of(response: Mapping[str, Any], *, private: bool, standby: bool) -> str:
    pool = response.get("pool")
    if not isinstance(pool, dict):
        raise AnswerError(200, "unreadable_answer", "the response contains no pool")
    key = ("standby_" if standby else "") + ("private_" if private else "") + "connection"
    connection = pool.get(key)
    uri = connection.get("uri") if isinstance(connection, dict) else None
    if not isinstance(uri, str):
        raise NotFoundError(404, "not_found", f"the pool {pool.get('name')!r} has no {key.replace('_', ' ')}")
    return uri
