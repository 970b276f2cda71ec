"""How an answer is shown: a table for people; JSON, YAML or bare values for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

EMPTY = "-"

Item = Mapping[str, Any]
Columns = dict[str, str]
"""Headings, and the field that stands below each; a dot leads into an object, as in ``connection.host``."""


class CommandError(click.ClickException):
    """Ends a command with one line that says what to do."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"cenote: {self.message}", file=file, err=file is None)


@dataclass(frozen=True, slots=True)
class Printer:
    """What ``--output`` and ``--field`` have asked for."""

    format: str = "table"
    fields: tuple[str, ...] = ()

    def show_all(self, items: Sequence[Item], columns: Columns) -> None:
        """Show a list: a line for each item."""
        if self.format == "table":
            self._rows(items, columns, ())
        elif self.format == "value":
            self._values(items, columns)
        else:
            self._document([dict(item) for item in items])

    def show_more(self, items: Sequence[Item], columns: Columns, widths: list[int]) -> list[int]:
        """Show the next part of a list without end; ``widths`` are what the last call has returned.

        JSON comes as a line for each item, YAML as a document.
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
        """Show one item: a line for each of its fields."""
        if self.format == "table":
            chosen = self._chosen(columns, [item])
            _list({heading: _text(_value(item, path)) or EMPTY for heading, path in chosen.items()})
        elif self.format == "value":
            self._values([item], columns)
        else:
            self._document(dict(item))

    def _chosen(self, columns: Columns, items: Sequence[Item]) -> Columns:
        if not self.fields:
            return columns
        for field in self.fields:
            if items and all(_value(item, field) is None for item in items):
                known = ", ".join(sorted({name for item in items for name in item}))
                raise CommandError(f"there is no field {field!r}; there are {known}")
        return {field: field for field in self.fields}

    def _values(self, items: Sequence[Item], columns: Columns) -> None:
        for item in items:
            paths = self._chosen(columns, items).values()
            click.echo("\t".join(_text(_value(item, path)) for path in paths))

    def _document(self, content: object) -> None:
        if self.fields:
            raise click.UsageError("--field goes with --output table or value; JSON and YAML have all fields")
        if self.format == "json":
            click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        else:
            import yaml

            click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


def output_options(function: F) -> F:
    """Add ``--output`` and ``--field``, which are handed over as a ``Printer``."""

    def chosen(context: click.Context, _parameter: click.Parameter, value: str) -> Printer:
        return Printer(value, context.meta.get("cenote.fields", ()))

    def keep(context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
        context.meta["cenote.fields"] = value

    fields = click.option(
        "--field",
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=keep,
        help="Only this field, such as connection.uri; may be given several times.",
    )
    form = click.option(
        "--output",
        "-o",
        "printer",
        type=click.Choice(["table", "json", "yaml", "value"]),
        default="table",
        callback=chosen,
        help="value: the bare values, with tabs between.  [default: table]",
    )
    return form(fields(function))


def note(text: str) -> None:
    """Tell a person what has happened, beside the answer that a program may read."""
    click.echo(text, err=True)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is destroyed; without a terminal to ask at, refuse."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("this can't be undone, and there is nobody to ask; add --yes to do it")
    click.confirm(question, abort=True, err=True)


def _value(item: Item, path: str) -> Any:
    found: Any = item
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str:
    """Return a value on one line, without characters that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)


def printable(text: str, kept: str = "") -> str:
    """Return a text without characters that a terminal would obey, but for those to be kept."""
    return "".join(letter if letter.isprintable() or letter in kept else "�" for letter in text)


def _table(headings: list[str], rows: list[list[str]], widths: Sequence[int] = ()) -> list[int]:
    """Print a table, or its next rows when the widths so far are given; return the widths."""
    columns = zip(headings, *rows, strict=True)
    least = widths or [0] * len(headings)
    found = [max(one, *map(len, column)) for one, column in zip(least, columns, strict=True)]

    def line(cells: list[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, found, strict=True)).rstrip()

    if not widths:
        click.secho(line(headings), bold=True)  # click leaves colours out of what is no terminal
    for row in rows:
        click.echo(line(row))
    return found


def _list(lines: dict[str, str]) -> None:
    width = max(map(len, lines))
    for heading, text in lines.items():
        click.echo(f"{click.style(heading.ljust(width), bold=True)}  {text}")
