"""The result of an import, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cenote.importing.progress import size
from cenote.importing.restore_errors import RestoreError, hint
from cenote.importing.selection import LeftOut
from cenote.logs.terminal_text import printable

_SHOWN_ERRORS = 20
_SHOWN_LINES = 6


@dataclass(slots=True)
class Report:
    """What was done.  ``failed``: there are errors, so the exit code is 1."""

    cluster: str
    database: str
    source: str
    source_database: str
    checked_only: bool = False
    bytes: int = 0
    tables: int = 0
    seconds: float = 0.0
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    findings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    errors: list[RestoreError] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    rows_compared: int | None = None

    @property
    def failed(self) -> bool:
        return bool(self.errors or self.differences)

    def document(self) -> dict[str, Any]:
        """Return it for JSON and YAML."""
        return {
            "cluster": self.cluster,
            "database": self.database,
            "source": {"address": self.source, "database": self.source_database, "bytes": self.bytes},
            "status": "checked" if self.checked_only else "failed" if self.failed else "imported",
            "tables": self.tables,
            "seconds": round(self.seconds, 1),
            "users_created": list(self.users),
            "roles_created": list(self.groups),
            "findings": self.findings,
            "left_out": [
                {"kind": one.kind, "name": one.name, "reason": one.reason, "loses_rows": one.loses_rows}
                for one in self.left_out
            ],
            "changed": self.changed,
            "errors": [
                {"object": one.title, "message": one.message, "hint": hint(one) or None}
                for one in self.errors
            ],
            "differences": self.differences,
            "rows_compared": self.rows_compared,
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines for people, without control characters: the source chooses the names in them."""
        what = (
            f"{printable(self.source_database)} of {self.source} ({size(self.bytes)}, {self.tables} tables)"
        )
        if self.checked_only:
            yield f"Checked {what} for cluster {self.cluster}, database {self.database}; nothing was changed"
        elif self.failed:
            yield f"Imported {what} into database {self.database} of {self.cluster}, with errors"
        else:
            yield f"Imported {what} into database {self.database} of {self.cluster} in {self.seconds:.0f} s"
        creates = "Would create" if self.checked_only else "Created"
        if self.users:
            users = printable(", ".join(self.users))
            yield f"{creates} users with new passwords ('cenote user get'): {users}"
        if self.groups:
            yield f"{creates} roles without login: {printable(', '.join(self.groups))}"
        yield from self._listed("Left out:", [_words(one) for one in self.left_out])
        yield from self._listed("Changed:", list(map(printable, self.changed)))
        yield from self._listed("Differences:", list(map(printable, self.differences)))
        yield from self._listed("Errors:", [_error(one) for one in self.errors[:_SHOWN_ERRORS]])
        if len(self.errors) > _SHOWN_ERRORS:
            yield f"  … and {len(self.errors) - _SHOWN_ERRORS} more; --output json has all of them"
        if self.rows_compared is not None:
            yield f"Compared row counts and values of {self.rows_compared} tables and sequences: " + (
                "see the differences" if self.differences else "no difference"
            )

    @staticmethod
    def _listed(heading: str, items: Sequence[str]) -> Iterator[str]:
        if items:
            yield heading
            yield from (f"  {item}" for item in items)


def _words(one: LeftOut) -> str:
    """Return one line; what a dump never has is described by its name alone."""
    rows = " (its rows are lost)" if one.loses_rows else ""
    return printable(f"{one.kind.lower()} {one.name}: {one.reason}{rows}" if one.reason else one.name)


def _error(error: RestoreError) -> str:
    lines = [printable(line) for line in str(error).splitlines()[:_SHOWN_LINES]]
    advice = hint(error)
    return "\n    ".join(lines + ([f"Hint: {advice}"] if advice else []))
