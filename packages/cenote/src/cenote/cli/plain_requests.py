"""Requests for operations that the client has no method for: tags, projects, VPCs and metrics targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cenote.cli.printer import CommandError

if TYPE_CHECKING:
    from cenote_client import Client

_PER_PAGE = 200


def path(template: str, *names: str) -> str:
    """Return a path with the escaped names; CommandError for one that would name another resource."""
    for name in names:
        if name in ("", ".", ".."):
            raise CommandError(f"{name!r} is not a valid name")
    return template.format(*(quote(name, safe="") for name in names))


def given(**fields: str | None) -> dict[str, Any]:
    """Return the fields of a body that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def listed(client: Client, where: str, key: str) -> Iterator[Any]:
    """Iterate over all items of a list; each page is requested when it is needed."""
    page = 1
    while True:
        found = client.request("GET", where, params={"page": page, "per_page": _PER_PAGE})[key]
        yield from found
        if len(found) < _PER_PAGE:
            return
        page += 1
