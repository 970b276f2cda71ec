"""Searching a log: by text and severity, through the API, in files larger than what is read at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote.host import log_files
from cenote.host.log_files import SEARCHED, TAIL, tail
from cenote.logs.filters import LogFilter
from cenote.logs.messages import Severity
from cenote.model.records import LogSource
from cenote_client import Client, InvalidError
from tests.support.service import online_cluster

LINE = "2026-03-01 12:00:00.000 UTC [{number}] {level}:  {text}\n"
PADDING = "x" * 400


def line(text: str, level: str = "LOG", number: int = 1) -> bytes:
    return LINE.format(number=number, level=level, text=text).encode()


def filler(size: int) -> bytes:
    one = line(f"filler {PADDING}")
    return one * (size // len(one))


def texts(path: Path, wanted: LogFilter, count: int = 10, cursor: str = "") -> list[str]:
    found, _ = tail(path, LogSource.POSTGRES, count, cursor, wanted)
    return [message.text.partition(":  ")[2] for message in found]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with needles at its start, in each MiB after it, and at its end."""
    path = tmp_path / "log"
    parts = [line("a needle in the past") + filler(SEARCHED)]
    parts += [line(f"Needle {number}", "ERROR") + filler(TAIL) for number in range(5)]
    path.write_bytes(b"".join(parts) + line("the last NEEDLE", "WARNING") + line("end"))
    return path


def test_a_text_is_found_in_any_case_across_the_parts_that_are_read(log: Path) -> None:
    expected = [*(f"Needle {number}" for number in range(5)), "the last NEEDLE"]
    assert texts(log, LogFilter("needle")) == expected
    assert texts(log, LogFilter("needle"), count=3) == expected[-3:]


def test_what_is_further_back_than_a_search_goes_is_not_read(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[int]()
    before = log_files.read

    def counted(path: Path, start: int, limit: int) -> Any:
        chunk = before(path, start, limit)
        read.append(0 if chunk is None else len(chunk.data))
        return chunk

    monkeypatch.setattr(log_files, "read", counted)
    assert texts(log, LogFilter("in the past")) == []
    assert SEARCHED <= sum(read) <= SEARCHED + 2 * TAIL
    assert max(read) <= TAIL


def test_a_severity_selects_what_is_as_bad_or_worse(log: Path) -> None:
    assert texts(log, LogFilter(severity=Severity.WARNING), count=2) == ["Needle 4", "the last NEEDLE"]
    assert texts(log, LogFilter(severity=Severity.ERROR), count=2) == ["Needle 3", "Needle 4"]
    assert texts(log, LogFilter("last", Severity.ERROR)) == []


def test_a_cursor_follows_what_matches_and_passes_over_the_rest(log: Path) -> None:
    _, cursor = tail(log, LogSource.POSTGRES, 10, "", LogFilter("needle"))
    with log.open("ab") as file:
        file.write(line("hay") + line("one more needle") + line("hay again"))
    wanted = LogFilter("needle")
    found, then = tail(log, LogSource.POSTGRES, 10, cursor, wanted)
    assert [message.text for message in found] == ["LOG:  one more needle"]
    assert tail(log, LogSource.POSTGRES, 10, then, wanted) == ([], then)


def test_letters_beyond_ascii_are_found_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("das Österreich-Äquivalent") + filler(2 * TAIL))
    assert texts(path, LogFilter("öSTERREICH")) == ["das Österreich-Äquivalent"]


def test_nothing_is_found_behind_a_hole(log: Path) -> None:
    log_files.shorten(log, SEARCHED + 2 * TAIL, None)
    assert "Needle 0" not in texts(log, LogFilter("needle"))
    assert texts(log, LogFilter("needle"))[-1] == "the last NEEDLE"


def test_the_api_searches_a_log(client: Client) -> None:
    cluster = online_cluster(client, "searched")
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        for text in ("straw", "a Needle", "straw again"):
            with pytest.raises(psycopg.errors.RaiseException):
                connection.execute(f"DO $$ BEGIN RAISE EXCEPTION '{text}'; END $$")
    found = client.databases.get_logs(cluster["id"], search="a needle", severity="error")["logs"]
    assert [message["severity"] for message in found["messages"]] == ["error"]
    assert "a Needle" in found["messages"][0]["text"]
    assert (
        client.databases.get_logs(cluster["id"], search="a needle", severity="fatal")["logs"]["messages"]
        == []
    )
    place = f"/v2/databases/{cluster['id']}/logs"
    for query in ("severity=bad", f"search={'x' * 201}"):
        with pytest.raises(InvalidError):
            client.request("GET", f"{place}?{query}")
