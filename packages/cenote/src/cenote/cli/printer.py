"""Output formats: a table for people; JSON, YAML or tab-separated values for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import click

from cenote.logs.terminal_text import printable

F = TypeVar("F", bound=Callable[..., Any])

EMPTY = "-"
FORMAT = "cenote.format"
"""Key in the context's ``meta``: the format of the command's output."""

Item = Mapping[str, Any]
Columns = dict[str, str]
"""Headings and the field shown below each; a dot descends into an object, as in ``connection.host``."""


class CommandError(click.ClickException):
    """Ends a command with one line on stderr, which says what to do."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"cenote: {self.message}", file=file, err=file is None)


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints items in the format of ``--output``, with the fields of ``--field``."""

    format: str = "table"
    fields: tuple[str, ...] = ()

    @property
    def prose(self) -> bool:
        """Whether people read the output, so that it may be a sentence."""
        return self.format == "table" and not self.fields

    def show_all(self, items: Sequence[Item], columns: Columns) -> None:
        """Print a list, one line per item."""
        if self.format == "table":
            self._rows(items, columns, ())
        elif self.format == "value":
            self._values(items, columns)
        else:
            self._document([dict(item) for item in items])

    def show_more(self, items: Sequence[Item], columns: Columns, widths: list[int]) -> list[int]:
        """Print the next items of an endless list; ``widths`` is what the previous call returned.

        JSON is one line per item, YAML one document per item.
        """
        if self.format == "table":
            return self._rows(items, columns, widths)
        for item in items:
            if self.format == "json":
                click.echo(json.dumps(item, ensure_ascii=False))
            elif self.format == "yaml":
                click.echo("---")
                self._document(dict(item))
            else:
                self._values([item], columns)
        return widths

    def _rows(self, items: Sequence[Item], columns: Columns, widths: Sequence[int]) -> list[int]:
        chosen = self._chosen(columns, items)
        rows = [[_text(_value(item, path)) or EMPTY for path in chosen.values()] for item in items]
        return _table(list(chosen), rows, widths)

    def show(self, item: Item, columns: Columns) -> None:
        """Print one item, one line per field."""
        if self.format == "table":
            chosen = self._chosen(columns, [item])
            _list({heading: _text(_value(item, path)) or EMPTY for heading, path in chosen.items()})
        elif self.format == "value":
            self._values([item], columns)
        else:
            self._document(dict(item))

    def done(self, text: str, item: Item, columns: Columns | None = None) -> None:
        """Report a change: in a sentence on stderr for people, and as an object for programs."""
        if self.prose:
            note(text)
        else:
            self.show(item, columns or {name: name for name in item})

    def text(self, text: str, item: Item) -> None:
        """Print a text whose form others prescribe, such as a certificate, or for json and yaml an object."""
        if self.format in ("json", "yaml"):
            self.show(item, {})
        else:
            click.echo(text)

    def _chosen(self, columns: Columns, items: Sequence[Item]) -> Columns:
        if not self.fields:
            return columns
        for field in self.fields:
            if items and all(_value(item, field) is None for item in items):
                known = ", ".join(sorted({name for item in items for name in item}))
                raise CommandError(f"unknown field {field!r}; available fields: {known}")
        return {field: field for field in self.fields}

    def _values(self, items: Sequence[Item], columns: Columns) -> None:
        for item in items:
            paths = self._chosen(columns, items).values()
            click.echo("\t".join(_text(_value(item, path)) for path in paths))

    def _document(self, content: object) -> None:
        if self.fields:
            raise click.UsageError("--field requires --output table or value; json and yaml print all fields")
        if self.format == "json":
            click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            import yaml

            click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


def with_present(columns: Columns, items: Sequence[Item], rare: Columns) -> Columns:
    """Return the columns, and those of the rare ones that an item has a value for."""
    present = {
        heading: path
        for heading, path in rare.items()
        if any(_value(item, path) is not None for item in items)
    }
    return columns | present


# What SQL has changed of a user, a database or a pool.
SQL_COLUMNS = {"STATE": "cenote.state", "REASON": "cenote.reason"}
SQL_DETAILS = {"State": "cenote.state", "Reason": "cenote.reason", "Password is": "cenote.password"}


def output_options(function: F) -> F:
    """Add ``--output`` and ``--field``, passed to the command as a ``Printer``."""

    def chosen(context: click.Context, _parameter: click.Parameter, value: str) -> Printer:
        context.meta[FORMAT] = value
        return Printer(value, context.meta.get("cenote.fields", ()))

    def keep(context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
        context.meta["cenote.fields"] = value

    fields = click.option(
        "--field",
        metavar="FIELD",
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=keep,
        help="Print only this field, such as connection.uri; repeatable.",
    )
    form = click.option(
        "--output",
        "-o",
        "printer",
        metavar="FORMAT",
        type=click.Choice(["table", "json", "yaml", "value"]),
        default="table",
        callback=chosen,
        help="Output format: table, json, yaml, or value (tab-separated, no headings).  [default: table]",
    )
    return form(fields(function))


def note(text: str) -> None:
    """Print a remark on stderr; stdout is for output that programs may parse.

    With JSON each line of stderr is an object too.
    """
    click.echo(json.dumps({"note": text}, ensure_ascii=False) if prints_json() else text, err=True)


def prints_json() -> bool:
    """Return whether the command that runs prints JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(FORMAT) == "json"


def note_pending(answer: Mapping[str, Any]) -> bool:
    """Say so if a change is recorded and not in force yet; return whether it is in force."""
    added = answer.get("cenote") or {}
    if added.get("pending"):
        note(f"The change is recorded, but not in force yet: {added['reason']}")
    return not added.get("pending")


def note_not_in_force(cluster: Mapping[str, Any]) -> bool:
    """The same for a change that is answered without a body, from the cluster as it is now."""
    lines = (cluster.get("cenote") or {}).get("not_in_force") or []
    for line in lines:
        note(f"Not in force yet: {line}")
    return not lines


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation of a destructive command; refuse when stdin is not a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Refusing without confirmation (no terminal). Re-run with --yes.")
    click.confirm(question, abort=True, err=True)


def _value(item: Item, path: str) -> Any:
    found: Any = item
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str:
    """Return a value on one line, without terminal control characters."""
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)


def _table(headings: list[str], rows: list[list[str]], widths: Sequence[int] = ()) -> list[int]:
    """Print a table, or only further rows when its column widths are given; return the widths."""
    columns = zip(headings, *rows, strict=True)
    least = widths or [0] * len(headings)
    found = [max(one, *map(len, column)) for one, column in zip(least, columns, strict=True)]

    def line(cells: list[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, found, strict=True)).rstrip()

    if not widths:
        click.secho(line(headings), bold=True)  # click strips colours when stdout is not a terminal
    for row in rows:
        click.echo(line(row))
    return found


def _list(lines: dict[str, str]) -> None:
    width = max(map(len, lines))
    for heading, text in lines.items():
        click.echo(f"{click.style(heading.ljust(width), bold=True)}  {text}")
