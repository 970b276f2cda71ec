"""Pagination of lists.

The reference does not define how its database lists end.  A service may send ``links.pages.next`` or
``meta.total``.  Without them, a page that is not full is the last, and so is one equal to the page before,
which is what a service without pagination sends.
"""

from __future__ import annotations

from typing import Any


class Paginator:
    """Iterates over the pages of a list; ``number`` is the next page to request, None after the last."""

    def __init__(self, key: str, per_page: int) -> None:
        self._key = key
        self._per_page = per_page
        self._seen = 0
        self._before: list[Any] | None = None
        self.number: int | None = 1

    def query(self) -> dict[str, Any]:
        return {"page": self.number, "per_page": self._per_page}

    def items(self, response: dict[str, Any]) -> list[Any]:
        """Return the new items of a page, and advance to the next."""
        found = response.get(self._key)
        things: list[Any] = found if isinstance(found, list) else []
        if self.number is None or things == self._before:
            things = []
        self._seen += len(things)
        self._before = things
        has_next = bool(things) and self._has_next(response, len(things))
        self.number = self.number + 1 if self.number and has_next else None
        return things

    def _has_next(self, response: dict[str, Any], count: int) -> bool:
        links, meta = response.get("links"), response.get("meta")
        pages = links.get("pages") if isinstance(links, dict) else None
        if isinstance(pages, dict) and pages:
            return bool(pages.get("next"))
        total = meta.get("total") if isinstance(meta, dict) else None
        if isinstance(total, int):
            return self._seen < total
        return count == self._per_page
