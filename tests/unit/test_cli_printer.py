"""The output formats of the command line."""

from __future__ import annotations

import json

import click
import pytest
import yaml

from cenote.cli.printer import CommandError, Printer, confirm
from cenote.cli.progress import Progress

THINGS = [
    {"name": "a", "size": 10, "connection": {"host": "localhost"}, "tags": ["x", "y"], "user": None},
    {"name": "longer", "size": 5, "connection": {"host": "db"}, "tags": [], "user": "app"},
]
COLUMNS = {"NAME": "name", "HOST": "connection.host", "TAGS": "tags", "USER": "user"}


def test_a_table_has_aligned_columns_and_a_dash_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().show_all(THINGS, COLUMNS)
    assert capsys.readouterr().out == (
        "NAME    HOST       TAGS  USER\na       localhost  x, y  -\nlonger  db         -     app\n"
    )


def test_a_table_of_nothing_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().show_all([], COLUMNS)
    assert capsys.readouterr().out == "NAME  HOST  TAGS  USER\n"


def test_one_thing_is_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().show(THINGS[0], {"Name": "name", "Size": "size"})
    assert capsys.readouterr().out == "Name  a\nSize  10\n"


def test_values_come_bare_with_tabs_between(capsys: pytest.CaptureFixture[str]) -> None:
    Printer("value", ("size", "connection.host", "user")).show_all(THINGS, COLUMNS)
    assert capsys.readouterr().out == "10\tlocalhost\t\n5\tdb\tapp\n"


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_document_has_all_that_the_api_answered(
    form: str, read: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(read)
    Printer(form).show_all(THINGS, COLUMNS)
    assert read(capsys.readouterr().out) == THINGS
    Printer(form).show(THINGS[0], COLUMNS)
    assert read(capsys.readouterr().out) == THINGS[0]


def test_a_field_that_nothing_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        CommandError, match="unknown field 'colour'; available fields: connection, name, size, tags, user"
    ):
        Printer("value", ("colour",)).show_all(THINGS, COLUMNS)


def test_fields_of_a_document_are_wrong_usage() -> None:
    with pytest.raises(click.UsageError):
        Printer("json", ("name",)).show_all(THINGS, COLUMNS)


def test_what_a_terminal_would_obey_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().show({"name": "a\x1b[31m\nb"}, {"Name": "name"})
    assert capsys.readouterr().out == "Name  a�[31m�b\n"


def test_nothing_is_destroyed_where_there_is_nobody_to_ask() -> None:
    with pytest.raises(CommandError, match="Re-run with --yes"):
        confirm("Delete it?", yes=False)
    confirm("Delete it?", yes=True)


def test_what_is_waited_for_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.show("copying \x1b[2J")
        progress.show("")
        progress.show("copying \x1b[2J")
    assert capsys.readouterr().err == "copying �[2J\n"
