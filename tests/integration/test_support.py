"""What keeps runs of the tests apart, and what a killed run leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cenote.host import processes
from tests.support import folders, ports, process_table, skips
from tests.support.pages import ROOT
from tests.support.waiting import wait_until

MAKES_A_FOLDER = """
import subprocess
from tests.support.folders import server_folder
with server_folder() as folder:
    subprocess.Popen(["sleep", "600"], cwd=folder)
    print(folder, flush=True)
    input()
"""


@contextmanager
def python(script: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_port_of_one_process_is_not_taken_by_another_until_that_has_ended() -> None:
    first = ports.free_range(2)
    own = f"from tests.support import ports; print(ports._take(range({first}, {first} + 2)))"
    with python(own) as other:
        assert line_of(other) == "False"
    with python("from tests.support import ports; print(ports.free_range(2), flush=True); input()") as other:
        theirs = int(line_of(other))
        assert not ports._take(range(theirs, theirs + 2))
        other.send_signal(signal.SIGKILL)
    assert ports._take(range(theirs, theirs + 2))


def test_a_client_of_a_server_that_resets_its_connection_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as plain:
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            accepted.close()
            before = descriptors_open()
            with pytest.raises(ConnectionResetError):
                ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
            assert descriptors_open() == before - 1


def descriptors_open() -> int:
    return len(process_table.open_files(os.getpid()))


def test_processes_that_have_ended_are_passed_over() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            both = [os.getpid(), process.pid]
            assert process_table.command_lines(both).keys() == set(both)
            # The kernel shows the arguments a moment after the program was started.
            wait_until("it has its arguments", 20, lambda: process_table.naming("600", both))
            assert process_table.naming("600", both) == [process.pid]
            assert process_table.directories(both).keys() == set(both)
        finally:
            process.kill()
    assert process_table.command_lines(both).keys() == {os.getpid()}
    assert process_table.naming("600", both) == []
    assert process_table.directories(both).keys() == {os.getpid()}
    assert process_table.owners(both) == {os.geteuid()}


def test_no_port_is_one_of_outgoing_connections() -> None:
    low, high = map(int, ports.EPHEMERAL.read_text().split())
    assert ports.allowed().stop <= low or ports.allowed().start > high


def test_the_folder_of_a_killed_test_is_removed_with_its_servers() -> None:
    with python(MAKES_A_FOLDER) as other:
        folder = Path(line_of(other))
        with pytest.raises(BlockingIOError):
            folders.remove_if_left(folder)
        [server] = processes.below(folder)
        other.send_signal(signal.SIGKILL)
        other.wait()
    folders.remove_if_left(folder)
    assert not folder.exists()
    wait_until("its server has ended", 30, lambda: processes.identify(server.pid) is None)


@pytest.mark.parametrize(
    ("reason", "outcome"), [("needs terraform", "skipped"), ("needs something else", "failed")]
)
def test_a_skip_fails_unless_it_is_on_the_list(
    reason: str, outcome: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(skips, "ALLOWED", tmp_path / "list")
    skips.ALLOWED.write_text("# why\ntests/test_one.py: needs terra*\n")
    report = pytest.TestReport(
        "tests/test_one.py::test_it", ("", 0, ""), {}, "skipped", ("", 1, f"Skipped: {reason}"), "call"
    )
    skips.check(report)
    assert report.outcome == outcome
