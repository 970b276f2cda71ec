"""The logs of a cluster's servers: read through the API, and kept from growing without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from cenote.engine.plan import log_space
from cenote.host import log_files
from cenote.logs.messages import parse_messages
from cenote.logs.positions import LogPosition
from cenote.model.paths import FIRST_NODE, Layout
from cenote.model.records import LogSource
from cenote_client import Client, ForbiddenError, InvalidError
from tests.support.service import CENOTE, Service, clean_environment
from tests.support.waiting import wait_until

LINE = b"2026-11-22 17:47:54.123 UTC [41] LOG:  line %07d %s\n"


def complain(cluster: Any, text: str) -> None:
    """Have the server write a message of several lines."""
    with psycopg.connect(cluster["connection"]["uri"]) as connection, pytest.raises(psycopg.Error):
        connection.execute(f"SELECT 1\nFROM no_such_{text}".encode())


def test_a_message_of_the_server_is_read_whole_with_its_statement(client: Client, cluster: Any) -> None:
    complain(cluster, "table")

    def told() -> Any:
        found = client.databases.get_logs(cluster["id"])["logs"]["messages"]
        return next((message for message in found if "no_such_table" in message["text"]), None)

    message = wait_until("the server's message is there", 60, told)
    assert message["severity"] == "error"
    assert message["text"].endswith("STATEMENT:  SELECT 1\n\tFROM no_such_table")
    assert message["at"].endswith("Z")


def test_with_the_cursor_of_an_answer_only_what_came_after_it_is_read(client: Client, cluster: Any) -> None:
    complain(cluster, "before")
    first = client.databases.get_logs(cluster["id"], lines=2)["logs"]
    assert len(first["messages"]) <= 2
    complain(cluster, "after")

    def told() -> Any:
        return client.databases.get_logs(cluster["id"], after=first["next"])["logs"]["messages"]

    found = wait_until("something came after that", 60, told)
    assert [True for message in found if "no_such_after" in message["text"]] == [True]
    assert not any("no_such_before" in message["text"] for message in found)
    # A cursor of another log, or none at all, is no error: one gets the newest.
    assert client.databases.get_logs(cluster["id"], after="1-2")["logs"]["messages"]
    assert client.databases.get_logs(cluster["id"], after="x")["logs"]["messages"]


def test_the_pooler_has_a_log_of_its_own(client: Client, cluster: Any) -> None:
    found = client.databases.get_logs(cluster["id"], source="pgbouncer")["logs"]
    assert found["source"] == "pgbouncer"
    assert any("listening on" in message["text"] for message in found["messages"])
    assert all(message["at"] and message["process"] for message in found["messages"])


@pytest.mark.parametrize("query", ["source=etcd", "lines=0", "lines=1001", "lines=x", "lines="])
def test_a_question_that_makes_no_sense_is_refused(client: Client, cluster: Any, query: str) -> None:
    with pytest.raises(InvalidError, match=query.partition("=")[0]):
        client.request("GET", f"/v2/databases/{cluster['id']}/logs?{query}")


def test_who_may_not_see_credentials_sees_no_log(running: Service, cluster: Any) -> None:
    for scopes, allowed in (
        (("database:read",), False),
        (("database:read", "database:view_credentials"), True),
    ):
        options = [option for scope in scopes for option in ("--scope", scope)]
        token = running.cenote("token", "create", f"t{len(scopes)}", *options).split()[-1]
        with running.client(token) as client:
            if allowed:
                assert client.databases.get_logs(cluster["id"])["logs"]["messages"]
            else:
                with pytest.raises(ForbiddenError):
                    client.databases.get_logs(cluster["id"])


def test_the_command_follows_what_the_server_says(running: Service, cluster: Any, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with seen.open("wb") as output:
        following = subprocess.Popen(
            [CENOTE, "cluster", "logs", "backend", "--follow", f"--data-dir={running.data_dir}"],
            stdout=output,
            env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        wait_until("it prints what is there", 60, lambda: seen.read_bytes())
        complain(cluster, "followed")
        wait_until("it prints what comes", 60, lambda: b"FROM no_such_followed" in seen.read_bytes())
    finally:
        following.send_signal(signal.SIGINT)
        following.wait(60)


def test_what_a_stranger_puts_into_the_log_does_not_reach_the_terminal(
    running: Service, cluster: Any
) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(cluster["connection"]["uri"], user=f"stranger{evil}", password="guessed")

    def told() -> str:
        printed = running.cenote("cluster", "logs", "backend", "--lines=1000")
        return printed if "stranger" in printed else ""

    printed = wait_until("the log has the failed login", 60, told)
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "stranger�]52;c;ZXZpbA==�" in printed


def test_a_log_gives_back_the_space_of_its_beginning_and_loses_no_line(
    running: Service, cluster: Any
) -> None:
    path: Path = Layout(running.data_dir).node(UUID(cluster["id"]), FIRST_NODE).log(LogSource.POSTGRES)
    with path.open("ab") as log:
        log.write(b"".join(LINE % (number, b"x" * 4000) for number in range(12_000)))
    os.kill(running.servers()["PgBouncer"], signal.SIGKILL)  # the agent looks when a server ends

    def taken() -> int:
        return path.stat().st_blocks * 512

    wait_until(
        "the space is given back",
        60,
        lambda: taken() <= log_space.KEPT + log_space.STEP + 2 * log_space.BLOCK,
    )
    assert path.stat().st_size > 12_000 * 4000
    piece = log_files.read(path, 0, 2**26)
    assert piece is not None
    assert (
        log_space.KEPT - 8000 < piece.size - piece.start <= log_space.KEPT + log_space.STEP + log_space.BLOCK
    )
    numbers = [
        int(message.text.split()[2])
        for message in parse_messages(piece.data, LogSource.POSTGRES, piece.start)
        if " line " in message.text
    ]
    assert numbers == list(range(numbers[0], 12_000))


# -- Files


def written(path: Path, count: int) -> bytes:
    content = b"".join(LINE % (number, b"") for number in range(count))
    path.write_bytes(content)
    return content


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert log_files.tail(tmp_path / "none", LogSource.POSTGRES, 10) == ([], "")
    assert log_files.read(tmp_path / "none", 0, 100) is None
    assert log_files.extent(tmp_path / "none") is None
    log_files.shorten(tmp_path / "none", 4096, None)


def test_an_empty_log_has_a_cursor_that_the_first_line_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    found, cursor = log_files.tail(path, LogSource.POSTGRES, 10)
    assert found == []
    written(path, 3)
    found, _ = log_files.tail(path, LogSource.POSTGRES, 10, cursor)
    assert [message.text for message in found] == [f"LOG:  line {number:07d} " for number in range(3)]


def test_a_log_is_paged_through_without_missing_or_repeating_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, 100)
    number = path.stat().st_ino
    seen, cursor = [], f"{number}-0"
    while True:
        found, cursor = log_files.tail(path, LogSource.POSTGRES, 7, cursor)
        if not found:
            break
        seen += found
    assert [message.text for message in seen] == [f"LOG:  line {number:07d} " for number in range(100)]


def shorten(path: Path, unshipped: int) -> None:
    """Do what a pass does to a log of which a sink needs the bytes from ``unshipped`` on."""
    extent = log_files.extent(path)
    if extent is not None and (change := log_space.shortened(path, extent, unshipped)) is not None:
        log_files.shorten(path, change.keep_from, change.kept)


def test_what_a_sink_still_needs_is_kept_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        log.truncate(2 * log_space.BACKLOG)  # takes no space
        log.seek(0, os.SEEK_END)
        log.write(b"x" * log_space.BLOCK)

    def first_data() -> int:
        with path.open("rb") as log:
            return os.lseek(log.fileno(), 0, os.SEEK_DATA)

    with path.open("r+b") as again:
        again.seek(log_space.BACKLOG - 10 * log_space.BLOCK)
        again.write(b"x" * (40 * 2**20))
    wanted = log_space.BACKLOG + 2 * log_space.STEP
    shorten(path, unshipped=wanted)
    assert first_data() == wanted
    with path.open("r+b") as again:
        again.write(b"x" * (40 * 2**20))
    shorten(path, unshipped=0)  # a sink that gets nothing does not fill the disk
    assert first_data() > log_space.BACKLOG


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x" * 100)
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        log_files.shorten(tmp_path / "log", 4096, None)
    assert log_files.read(tmp_path / "log", 0, 10) is None
    assert log_files.end(tmp_path / "log") == LogPosition()


def test_lines_that_are_written_while_a_log_is_shortened_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = (
        "import os, sys\n"
        f"log = os.open({str(path)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "for number in range(40000):\n"
        f"    os.write(log, {LINE!r} % (number, b'x' * 1000))\n"
    )
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", writer]) as process:
        position = 0
        while True:
            ended = process.poll() is not None
            piece = log_files.read(path, position, 2**22)
            if piece is not None:
                assert piece.start == position, "something was cut out that had not been read"
                for message in parse_messages(piece.data, LogSource.POSTGRES, piece.start):
                    seen.append(int(message.text.split()[2]))
                    position = message.end
                shorten(path, unshipped=position)
                if ended and position == piece.size:
                    break
            time.sleep(0)
    assert seen == list(range(40_000))
    assert path.stat().st_blocks * 512 < 30 * 2**20


def test_whoever_follows_a_log_comes_past_a_line_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("LOG:  first\n")
    _, cursor = log_files.tail(path, LogSource.POSTGRES, 10)
    with path.open("a") as log:
        log.write("LOG:  " + "x" * 3 * log_files.TAIL + "\nLOG:  last\n")
    read: list[str] = []
    while not read or read[-1] != "LOG:  last":
        found, then = log_files.tail(path, LogSource.POSTGRES, 10, cursor)
        assert then != cursor
        cursor = then
        read += [message.text for message in found]
