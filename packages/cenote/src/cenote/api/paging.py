"""Pagination of lists: ``page`` and ``per_page`` in requests, ``links`` and ``meta`` in responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from cenote.api.call import Call
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


@dataclass(frozen=True, slots=True)
class Requested:
    """The page that a request is for."""

    page: int
    per_page: int

    @property
    def begin(self) -> int:
        return (self.page - 1) * self.per_page

    @property
    def end(self) -> int:
        return self.page * self.per_page


def page_of(request: Call, things: Sequence[T]) -> tuple[Sequence[T], Links, Meta]:
    """Return the requested page, the links to others, and the total."""
    wanted = requested(request)
    return things[wanted.begin : wanted.end], *links_of(request, wanted, len(things))


def requested(request: Call) -> Requested:
    return Requested(
        page=_number(request, "page", 1, most=None),
        per_page=_number(request, "per_page", DEFAULT_PER_PAGE, most=MAX_PER_PAGE),
    )


def links_of(request: Call, wanted: Requested, total: int) -> tuple[Links, Meta]:
    """Return the links to other pages of a list with ``total`` items, and the total."""
    last = max(1, -(-total // wanted.per_page))

    def link(number: int) -> str:
        query = {**{key: request.query_params[key] for key in request.query_params}, "page": number}
        return f"{str(request.base_url).rstrip('/')}{request.scope['path']}?{urlencode(query)}"

    pages = Pages()
    if wanted.page > 1:
        pages.first = link(1)
        pages.prev = link(min(wanted.page - 1, last))
    if wanted.page < last:
        pages.next = link(wanted.page + 1)
        pages.last = link(last)
    return Links(pages) if pages != Pages() else Links(), Meta(total)


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
