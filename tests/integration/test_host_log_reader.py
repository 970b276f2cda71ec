"""A log is read message by message while it is written, cut, emptied or replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from cenote.engine.plan import log_space
from cenote.host import log_files, log_reader
from cenote.host.log_reader import Batch, LogReader
from cenote.logs import bulk
from cenote.logs.place import Place
from cenote.logs.positions import LogPosition
from cenote.model.records import LogSource
from cenote.model.timing import Timing
from tests.support.waiting import wait_until

HEAD = "2026-11-22 17:47:54.123 UTC [41] "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def reader_of(path: Path, place: LogPosition | None = None, *, quiet: float = 0) -> LogReader:
    """Return a reader that takes what stands at the end of a log for whole."""
    return LogReader(path, LogSource.POSTGRES, place or LogPosition(), Timing(log_quiet=quiet))


def say(path: Path, *texts: str) -> None:
    with path.open("a") as log:
        log.write("".join(f"{HEAD}LOG:  {text}\n" for text in texts))


def read(reader: LogReader) -> Batch:
    return asyncio.run(reader.read())


def texts(batch: Batch) -> list[str]:
    return [message.text.removeprefix("LOG:  ") for message in batch.messages]


def test_each_message_is_read_once_in_its_order(path: Path) -> None:
    reader = reader_of(path)
    assert read(reader) == Batch((), LogPosition())
    say(path, "one", "two\n\tand read")
    assert texts(read(reader)) == ["one", "two\n\tand read"]
    assert texts(read(reader)) == []
    say(path, "three")
    batch = read(reader)
    assert texts(batch) == ["three"]
    assert batch.position == log_files.end(path)
    assert texts(read(reader_of(path, batch.position))) == []


def test_a_message_that_may_go_on_waits_until_the_log_is_quiet(path: Path) -> None:
    reader = reader_of(path, quiet=0.5)
    say(path, "whole", "begun")
    assert texts(read(reader)) == ["whole"]
    with path.open("a") as log:
        log.write("\tand read\n")
    assert texts(read(reader)) == []
    last = wait_until("the log is quiet", 30, lambda: texts(read(reader)))
    assert last == ["begun\n\tand read"]


def test_a_message_larger_than_a_piece_is_one_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "CHUNK", 4096)
    reader = reader_of(path)
    say(path, "x" * 30_000, "after")
    assert [len(text) for text in texts(read(reader)) + texts(read(reader))] == [30_000, 5]


def test_a_line_without_end_does_not_hold_up_what_comes_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "CHUNK", 1024)
    monkeypatch.setattr(log_reader, "LARGEST", 8192)
    reader = reader_of(path)
    say(path, "x" * 40_000, "after")
    found: list[str] = []
    while "after" not in found:
        found += texts(read(reader))
    assert sum(map(len, found)) >= 40_000


def test_what_was_cut_out_before_it_was_read_is_counted(path: Path) -> None:
    say(path, *(f"{number:06d} {'x' * 1000}" for number in range(40_000)))
    extent = log_files.extent(path)
    assert extent is not None
    change = log_space.shortened(path, extent, None)
    assert change is not None
    log_files.shorten(path, change.keep_from, change.kept)
    batch = read(reader_of(path, LogPosition(file=path.stat().st_ino, at=0)))
    assert batch.messages[0].start == batch.lost > log_space.STEP
    assert (
        batch.problem == f"{batch.lost} bytes of the log of postgres were dropped before they could be sent"
    )
    assert texts(batch)[0][:6].isdigit()


@pytest.mark.parametrize("how", ["emptied", "replaced"])
def test_a_log_that_was_emptied_or_replaced_is_read_from_its_beginning(path: Path, how: str) -> None:
    say(path, "old", "old")
    reader = reader_of(path)
    assert texts(read(reader)) == ["old", "old"]
    if how == "emptied":
        path.write_text("")
    else:
        path.rename(path.with_suffix(".1"))
    say(path, "new")
    batch = read(reader)
    assert texts(batch) == ["new"]
    assert batch.problem == "the log of postgres was replaced or truncated"
    assert read(reader).problem == ""


def test_a_line_without_a_time_has_that_of_the_one_before_it(path: Path) -> None:
    say(path, "one")
    with path.open("a") as log:
        log.write("no head\n")
    one, other = read(reader_of(path)).messages
    assert one.at == other.at


def test_equal_messages_at_the_same_place_of_a_log_that_was_emptied_are_two(path: Path) -> None:
    """Or the peer would say of the second one that it is there already."""

    def ids() -> list[str]:
        messages = read(reader_of(path)).messages
        return [
            bulk.document_id(message, Place(UUID(int=1), "backend", "node-1", "db-1")) for message in messages
        ]

    begin = "UTC [41] LOG:  starting PostgreSQL\n"
    path.write_text(f"2026-11-22 17:47:54.123 {begin}\twithout a time\n")
    before = ids()
    assert ids() == before  # what is sent again is known
    path.write_text(f"2026-11-22 17:50:00.000 {begin}")
    emptied = ids()
    path.rename(path.with_suffix(".old"))
    path.write_text(f"2026-11-22 17:50:00.000 {begin}")
    replaced = ids()
    assert len({*before, *emptied, *replaced}) == len(before) + 2
