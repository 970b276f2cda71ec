"""``cenote quickstart``: a first run and a second one, and that no secret leaks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cenote.host import processes
from tests.support import process_table
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.service import CENOTE, clean_environment, exports_of, run_cenote
from tests.support.waiting import wait_until

LAST_LINE = "Press Ctrl-C to stop the service"
SECRETS_OF_FILES = ("PRIVATE KEY", "cenote_v1_")


@dataclass
class Shown:
    """What the command prints, and the process while it serves."""

    text: str
    pid: int
    exit_code: int | None = None

    @property
    def pool(self) -> Any:
        return json.loads(self.text[self.text.index("{") : self.text.rindex("}\n") + 1])["pool"]

    def line(self, beginning: str) -> str:
        return next(line for line in self.text.splitlines() if line.strip().startswith(beginning)).strip()


@contextlib.contextmanager
def quickstart(folder: Path, port: int) -> Iterator[Shown]:
    """Run it until it has shown everything, then end it by Ctrl-C."""
    path = folder / "shown"
    with path.open("wb") as out, (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [
                *(CENOTE, "quickstart", f"--data-dir={folder / 'data'}", f"--port={port}"),
                *(f"--ports={port + 2}-{port + 5}", "--log-level=debug"),
            ],
            env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
        )
    shown = Shown("", process.pid)

    def is_up() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-4000:]
        return LAST_LINE in path.read_text()

    try:
        wait_until("everything is shown", 90, is_up)
        shown.text = path.read_text()
        yield shown
    finally:
        process.send_signal(signal.SIGINT)
        shown.exit_code = process.wait(timeout=60)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with server_folder() as created:
        try:
            yield created
        finally:
            run_cenote("stop", f"--data-dir={created / 'data'}")
            for process in processes.below(created):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


@dataclass
class Twice:
    """Two runs one after the other, and what was seen while the second one served."""

    first: Shown
    second: Shown
    folder: Path
    answer: str
    command_lines: list[str]
    beside: subprocess.CompletedProcess[str]  # one more run while the second one serves
    servers_kept: bool  # by that one


@pytest.fixture(scope="module")
def twice(folder: Path) -> Twice:
    port = free_range(6)
    with quickstart(folder, port) as first:
        pass
    # As after a reboot: the record says that all is there, and the servers have yet to be started.
    for server in processes.below(folder / "data" / "clusters"):
        with contextlib.suppress(ProcessLookupError):  # its parent has taken it along
            os.kill(server.pid, signal.SIGKILL)
    with quickstart(folder, port) as second:
        # The line is for copying into a shell, so a shell runs it.
        line = second.line("psql ") + " --no-psqlrc -Atc 'SELECT 40 + 2'"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        everybody = list(map(" ".join, process_table.command_lines().values()))
        before = servers(folder)
        beside = run_cenote("quickstart", f"--data-dir={folder / 'data'}")
        kept = before <= servers(folder)
    return Twice(first, second, folder, done.stdout + done.stderr, everybody, beside, kept)


def servers(folder: Path) -> set[int]:
    """Return the pids of the servers, without their own processes and those of backups, which end."""
    programs = ("bin/postgres ", "pgbouncer ", "etcd ")
    found = process_table.command_lines(process.pid for process in processes.below(folder))
    lines = {pid: "".join(f"{argument} " for argument in line) for pid, line in found.items()}
    return {pid for pid, line in lines.items() if any(program in line for program in programs)}


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", " ")
    except OSError:  # it has ended
        return ""


def secrets(twice: Twice) -> list[str]:
    token = exports_of("\n".join(export_lines(twice.second)))["DIGITALOCEAN_TOKEN"]
    return [token, twice.second.pool["connection"]["password"]]


def export_lines(shown: Shown) -> list[str]:
    return [line.strip() for line in shown.text.splitlines() if line.strip().startswith("export ")]


def test_the_first_run_creates_a_cluster_and_a_pool_and_shows_them(twice: Twice) -> None:
    assert "Creating cluster backend" in twice.first.text
    assert "Creating pool backend-pool" in twice.first.text
    pool = twice.first.pool
    assert (pool["name"], pool["user"], pool["mode"], pool["db"]) == (
        "backend-pool",
        "doadmin",
        "transaction",
        "defaultdb",
    )
    assert re.search(r'get_connection_pool\("[0-9a-f-]{36}", "backend-pool"\)', twice.first.text)


def test_the_second_run_creates_nothing_and_shows_the_same(twice: Twice) -> None:
    assert "Creating" not in twice.second.text
    assert twice.first.pool == twice.second.pool
    assert twice.first.line("client.databases") == twice.second.line("client.databases")
    assert export_lines(twice.first) == export_lines(twice.second)


def test_the_psql_line_works_as_it_is(twice: Twice) -> None:
    assert twice.answer == "42\n"


def test_the_cluster_is_backed_up_beside_its_data(twice: Twice) -> None:
    if shutil.which("pgbackrest") is None:
        pytest.skip("needs pgBackRest")
    assert (twice.folder / "data" / "backups").is_dir()


def test_the_exports_are_those_of_env(twice: Twice) -> None:
    told = run_cenote("env", f"--data-dir={twice.folder / 'data'}").stdout
    assert export_lines(twice.second) == told.splitlines()


def test_ctrl_c_is_an_end_without_an_error_and_the_databases_go_on(twice: Twice) -> None:
    assert (twice.first.exit_code, twice.second.exit_code) == (0, 0)
    uri = twice.second.pool["connection"]["uri"]
    done = subprocess.run(["psql", "-Atc", "SELECT 42", uri], capture_output=True, text=True, check=False)
    assert done.stdout == "42\n", done.stderr


def test_no_process_has_a_secret_among_its_arguments(twice: Twice) -> None:
    known = secrets(twice)
    assert all(len(secret) > 10 for secret in known)
    # psql above had the password in its arguments, as the printed line does; it had ended by then.
    assert [line for line in twice.command_lines if any(secret in line for secret in known)] == []
    assert any("pgbouncer.ini" in line for line in twice.command_lines)


def test_no_log_has_a_secret(twice: Twice) -> None:
    logs = [path for path in twice.folder.rglob("*log") if path.is_file()]
    assert {path.name for path in logs} >= {"log", "etcd.log", "postgresql.log", "pgbouncer.log"}
    for path in logs:
        text = path.read_text(errors="replace")
        assert [
            secret for secret in (*secrets(twice), "SCRAM-SHA-256$", "PRIVATE KEY") if secret in text
        ] == []


def test_no_file_that_others_may_read_has_a_secret(twice: Twice) -> None:
    known = [secret.encode() for secret in (*secrets(twice), *SECRETS_OF_FILES)]
    open_to_others = [
        path
        for path in (twice.folder / "data").rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o077
    ]
    assert open_to_others
    assert [path for path in open_to_others if any(secret in path.read_bytes() for secret in known)] == []


def test_a_third_run_beside_the_second_prints_the_same_and_changes_nothing(twice: Twice) -> None:
    beside = twice.beside
    assert beside.returncode == 0, beside.stderr
    first, *_ = beside.stdout.splitlines()
    url = exports_of("\n".join(export_lines(twice.second)))["DIGITALOCEAN_API_URL"]
    assert first.startswith(f"Cenote already serves {url} (pid ")
    assert "Creating" not in beside.stdout
    assert export_lines(Shown(beside.stdout, 0)) == export_lines(twice.second)
    assert Shown(beside.stdout, 0).line("psql ") == twice.second.line("psql ")
    assert "stop" not in beside.stdout
    assert twice.servers_kept


def test_the_warning_of_a_browser_is_announced_with_the_fingerprint_of_the_ca(twice: Twice) -> None:
    done = subprocess.run(
        [
            "openssl",
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            str(twice.folder / "data" / "ca.crt"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert twice.second.line("SHA-256 ") == f"SHA-256 {done.stdout.strip().partition('=')[2]}"
    assert "A browser warns" in twice.second.text
    assert "cenote trust" in twice.second.text
