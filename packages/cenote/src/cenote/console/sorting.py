"""Tables that are sorted by a click on the heading of a column, which is a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from cenote.console.request import ConsoleRequest

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Heading:
    """The link of a column's heading; ``sorted`` is the value of ``aria-sort``, empty for other columns."""

    link: str
    sorted: str


class Sorting:
    """The column by which the query of a request sorts a table; ``-name`` sorts downwards.

    ``columns`` has a key for the rows of each column that sorts; ``parameter`` tells the tables of a page
    apart.  Any other value of the parameter leaves the rows as the API returns them.
    """

    def __init__(
        self, request: ConsoleRequest, columns: Mapping[str, Callable[[Any], Any]], parameter: str = "sort"
    ) -> None:
        self._columns, self._parameter = columns, parameter
        self._others = [
            (name, value)
            for name, value in request.query_params.items()
            if name not in (parameter, "page", "still")
        ]
        chosen = request.query_params.get(parameter, "")
        self.down = chosen.startswith("-")
        self.column = chosen.removeprefix("-") if chosen.removeprefix("-") in columns else ""

    @property
    def query(self) -> dict[str, str]:
        """Return the parameter as it was given, nothing if it names no column."""
        return {self._parameter: f"{'-' * self.down}{self.column}"} if self.column else {}

    def rows(self, rows: Iterable[Any]) -> list[Any]:
        """Return the rows in the chosen order; equal ones stay in the API's."""
        if not self.column:
            return list(rows)
        key = self._columns[self.column]
        return sorted(rows, key=lambda row: _comparable(key(row)), reverse=self.down)

    def heading(self, column: str) -> Heading:
        """Return the link that sorts by a column, or the other way round if it is the current one."""
        current = column == self.column
        down = current and not self.down
        query = urlencode([*self._others, (self._parameter, f"{'-' * down}{column}")])
        return Heading(f"?{query}", ("descending" if self.down else "ascending") if current else "")


def _comparable(value: Any) -> tuple[bool, Any]:
    """Return a key by which a missing value comes last, and the case of letters does not matter."""
    return value is None, value.casefold() if isinstance(value, str) else value or 0
