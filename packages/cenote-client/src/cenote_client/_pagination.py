"""Which page of a list to ask for next.

The reference does not say how its database lists end.  A service may tell (``links.pages.next`` or
``meta.total``); if it tells nothing, a page that is not full is the last, and so is one that repeats the page
before, which is what a service sends that knows no pages.
"""

from __future__ import annotations

from typing import Any


class Paginator:
    """The pages of one list: ``number`` is the page to ask for, None after the last."""

    def __init__(self, key: str, per_page: int) -> None:
        self._key = key
        self._per_page = per_page
        self._seen = 0
        self._before: list[Any] | None = None
        self.number: int | None = 1

    def query(self) -> dict[str, Any]:
        return {"page": self.number, "per_page": self._per_page}

    def take(self, answer: dict[str, Any]) -> list[Any]:
        """Return what this page adds, and choose the next."""
        found = answer.get(self._key)
        things: list[Any] = found if isinstance(found, list) else []
        if self.number is None or things == self._before:
            things = []
        self._seen += len(things)
        self._before = things
        goes_on = bool(things) and self._goes_on(answer, len(things))
        self.number = self.number + 1 if self.number and goes_on else None
        return things

    def _goes_on(self, answer: dict[str, Any], count: int) -> bool:
        links, meta = answer.get("links"), answer.get("meta")
        pages = links.get("pages") if isinstance(links, dict) else None
        if isinstance(pages, dict) and pages:
            return bool(pages.get("next"))
        total = meta.get("total") if isinstance(meta, dict) else None
        if isinstance(total, int):
            return self._seen < total
        return count == self._per_page
