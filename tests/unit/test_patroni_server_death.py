"""What the launcher of Patroni notices of its PostgreSQL, on real processes that stand for one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cenote.host.patroni_launcher import server_death

SECONDS = 10


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory with a server's pid file, and two processes that work in it: server and child."""
    working = [subprocess.Popen(["sleep", "60"], cwd=tmp_path) for _ in range(2)]
    (tmp_path / "postmaster.pid").write_text(f"{working[0].pid}\n{tmp_path}\n")
    try:
        yield tmp_path
    finally:
        for process in working:
            process.kill()
            process.wait()


def pids(data: Path) -> tuple[int, int]:
    first = int((data / "postmaster.pid").read_text().splitlines()[0])
    entries = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    [child] = [pid for pid in entries if pid != first and server_death._works_in(str(pid), str(data))]
    return first, child


def test_the_death_of_a_server_is_noticed_when_nothing_works_in_its_data_any_more(data: Path) -> None:
    server, child = pids(data)
    noticed, moments = threading.Event(), list[bool]()

    def on_death() -> None:
        moments.append(server_death._is_worked_in(str(data)))
        noticed.set()

    watch = threading.Thread(target=server_death._watch_server, args=(str(data), on_death), daemon=True)
    watch.start()
    time.sleep(2 * server_death.SERVER_POLLING)
    assert not noticed.is_set(), "it lives"
    for pid in (server, child):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert noticed.wait(SECONDS)
    assert moments[0] is False
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n")  # which works elsewhere
    assert server_death._server_of(str(data)) is None


def test_a_pid_file_that_is_damaged_or_of_another_process_names_no_server(tmp_path: Path) -> None:
    for content in ("", "x\n", f"{os.getpid()}\n", "99999999\n"):
        (tmp_path / "postmaster.pid").write_text(content)
        assert server_death._server_of(str(tmp_path)) is None
    (tmp_path / "postmaster.pid").unlink()
    assert server_death._server_of(str(tmp_path)) is None
