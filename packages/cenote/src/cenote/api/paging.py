"""Pagination of lists: ``page`` and ``per_page`` in requests, ``links`` and ``meta`` in responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from cenote.api.service import Call
from cenote.errors import Invalid

T = TypeVar("T")

DEFAULT_PER_PAGE = 20
MAX_PER_PAGE = 200


class Meta(msgspec.Struct):
    """``total`` counts the items of all pages."""

    total: int


class Pages(msgspec.Struct, omit_defaults=True):
    """URLs of other pages; those that do not exist are left out."""

    first: str = ""
    prev: str = ""
    next: str = ""
    last: str = ""


class Links(msgspec.Struct, omit_defaults=True):
    """Empty if everything fits on one page."""

    pages: Pages | None = None


def page_of(request: Call, things: Sequence[T]) -> tuple[Sequence[T], Links, Meta]:
    """Return the requested page, the links to others, and the total."""
    page = _number(request, "page", 1, most=None)
    per_page = _number(request, "per_page", DEFAULT_PER_PAGE, most=MAX_PER_PAGE)
    total = len(things)
    last = max(1, -(-total // per_page))

    def link(number: int) -> str:
        query = {**{key: request.query_params[key] for key in request.query_params}, "page": number}
        return f"{str(request.base_url).rstrip('/')}{request.scope['path']}?{urlencode(query)}"

    pages = Pages()
    if page > 1:
        pages.first = link(1)
        pages.prev = link(min(page - 1, last))
    if page < last:
        pages.next = link(page + 1)
        pages.last = link(last)
    links = Links(pages) if pages != Pages() else Links()
    return things[(page - 1) * per_page : page * per_page], links, Meta(total)


def _number(request: Call, name: str, default: int, most: int | None) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid(f"{name}: {text[:40]!a} is not a whole number of 1 or more.")
    number = int(text)
    if number < 1 or (most is not None and number > most):
        raise Invalid(f"{name}: {number} is not from 1{f' to {most}' if most else ' on'}.")
    return number
