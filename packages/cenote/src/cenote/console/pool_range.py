"""The choices of the connection pools page: the range of its charts, and the order of the pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from cenote.console.api_client import path_of
from cenote.console.pool_charts import DEFAULT_MINUTES, RANGES, PoolTrail
from cenote.console.request import ConsoleRequest
from cenote.console.sorting import Sorting

ORDERS: dict[str, Callable[[Any], Any]] = {
    "name": lambda pool: pool["name"],
    "size": lambda pool: pool["size"],
    "database": lambda pool: pool["db"],
}


class PoolRange:
    """The choices of one request; forms and links of the page keep them."""

    def __init__(self, request: ConsoleRequest) -> None:
        text = request.query_params.get("minutes", "")
        self.minutes = int(text) if text in map(str, RANGES) else DEFAULT_MINUTES
        self.sorting = Sorting(request, ORDERS)
        self._api, self._id = request.api, request.path_params["id"]

    def query(self, *, minutes: int | None = None, **more: str) -> str:
        """Return the query of a link that keeps the choices, or has another range."""
        chosen = minutes or self.minutes
        own = {} if chosen == DEFAULT_MINUTES else {"minutes": str(chosen)}
        query = urlencode(own | self.sorting.query | more)
        return f"?{query}" if query else ""

    async def histories(self, points: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the samples of the last 15 minutes, and the minutes before them by pool, if in the range."""
        limited = {} if points is None else {"points": points}
        recent = await self._api.get(path_of(self._id, "pool_history"), **limited)
        if self.minutes == DEFAULT_MINUTES:
            return recent["history"], {}
        # Twice as many rows as a chart has points: so an interval without one is a gap, not a matter of
        # where the intervals of both begin.
        more = {name: 2 * number for name, number in limited.items()}
        older = await self._api.get(path_of(self._id, "pool_history"), minutes=self.minutes, **more)
        return recent["history"], {pool["name"]: pool for pool in older["history"]["pools"]}

    def trails(self, recent: Any, older: dict[str, Any], points: int) -> dict[str, PoolTrail]:
        """Return the trail of each pool of these histories."""
        return {
            past["name"]: PoolTrail.of_history(past, points, self.minutes, older.get(past["name"]))
            for past in recent["pools"]
        }
