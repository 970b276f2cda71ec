"""``cenote run``: what the command gets, its exit code, and that nothing is left."""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys

import pytest

from cenote.host import programs
from tests.integration.test_serve_plain_user import USER, as_user
from tests.support import runs

pytestmark = pytest.mark.long

SHELLS = ("dash", "bash")
SHOW = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
SQL = "SELECT 40 + 2"


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 1", 1), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
def test_the_exit_code_is_the_commands(script: str, code: int) -> None:
    with runs.run_folder() as folder:
        done = runs.run(folder, "--no-cluster", "--", "sh", "-c", script)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
        assert runs.left_in(folder) == []


def test_the_command_has_a_database_a_pool_and_the_api_and_all_of_it_goes() -> None:
    with runs.run_folder() as folder:
        direct = "psql \"$DIRECT_URL\" -Atc 'SHOW fsync'"
        script = f"{SHOW}; psql -Atc '{SQL}'; {direct}; cenote pool list one -o value"
        done = runs.run(
            folder,
            *("--cluster", "one", "--pool", "first", "--pool-size", "3", "sh", "-c", script),
            env=runs.environment(
                folder, PGHOSTADDR="192.0.2.1", PGSERVICE="none", HTTPS_PROXY="http://192.0.2.1:9"
            ),
        )
        assert (done.returncode, done.stderr) == (0, "")
        shown, *lines = done.stdout.splitlines()
        variables = json.loads(shown)
        assert lines[:2] == ["42", "off"]
        assert lines[2].startswith("first\ttransaction\t3\t")
        assert variables["DATABASE_URL"].partition("?")[0].endswith("/first")
        assert variables["DIRECT_URL"].partition("?")[0].endswith("/defaultdb")
        assert {"PGHOSTADDR", "PGSERVICE"}.isdisjoint(variables)
        assert runs.left_in(folder) == []
        ports = {int(variables["PGPORT"]), int(variables["DIGITALOCEAN_API_URL"].rpartition(":")[2])}
        ports.add(int(variables["DIRECT_URL"].partition("?")[0].rpartition(":")[2].partition("/")[0]))
        assert len(ports) == 3
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)


def test_the_command_has_the_standard_input_and_prints_where_it_always_does() -> None:
    with runs.run_folder() as folder:
        process = runs.start(
            folder, "--no-cluster", "--", "sh", "-c", "cat; echo said >&2", stdin=subprocess.PIPE
        )
        assert process.communicate("typed\n", timeout=runs.RUN_SECONDS) == ("typed\n", "said\n")
        assert process.returncode == 0


def test_options_behind_the_command_are_the_commands() -> None:
    with runs.run_folder() as folder:
        done = runs.run(folder, "--no-cluster", "echo", "--pool", "--help", "-x", "--")
        assert done.stdout == "--pool --help -x --\n"


@pytest.mark.parametrize(
    ("program", "code", "message"),
    [
        ("no-such-program", 127, "cenote: no-such-program: command not found\n"),
        ("./missing", 127, "cenote: ./missing: command not found\n"),
        ("./text", 126, "cenote: ./text: cannot be executed\n"),
    ],
)
def test_a_command_that_is_none_starts_nothing(program: str, code: int, message: str) -> None:
    with runs.run_folder() as folder:
        (folder / "text").write_text("text")
        done = runs.run(folder, "--", program)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", message)
        assert not list(folder.glob("cenote-*"))


def test_what_is_missing_on_the_machine_is_named_with_its_remedy() -> None:
    with runs.run_folder() as folder:
        done = runs.run(folder, "--pgbouncer", "/nonexistent/pgbouncer", "--", "echo", "ran")
        assert done.returncode == 125
        assert done.stdout == ""
        assert "the service did not start:" in done.stderr
        assert "PgBouncer" in done.stderr
        assert "fix: " in done.stderr
        assert runs.left_in(folder) == []


def test_a_cluster_that_cannot_be_made_says_why() -> None:
    with runs.run_folder() as folder:
        done = runs.run(folder, "--version", "9", "--", "echo", "ran")
        assert (done.returncode, done.stdout) == (125, "")
        assert "version" in done.stderr
        assert runs.left_in(folder) == []


def test_the_version_and_the_size_of_the_cluster_can_be_chosen() -> None:
    version = min(programs.find().postgres, key=int)
    with runs.run_folder() as folder:
        done = runs.run(
            folder,
            *("--version", version, "--size", "db-s-1vcpu-2gb", "--", "psql", "-At"),
            *("-c", "SHOW server_version_num", "-c", "SHOW max_connections"),
        )
        shown, connections = done.stdout.split()
        assert int(shown) // 10_000 == int(version)
        assert int(connections) > 25


@pytest.mark.parametrize("shell", SHELLS)
def test_three_at_once_in_a_script_do_not_meet(shell: str) -> None:
    command = f"cenote run -- psql -Atc '{SQL}'"
    script = f"{command} & a=$!; {command} & b=$!; {command}; c=$?; wait $a && wait $b && exit $c"
    with runs.run_folder() as folder:
        done = subprocess.run(
            [shell, "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=runs.environment(folder),
            check=False,
            timeout=runs.RUN_SECONDS,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "42\n" * 3, "")
        assert runs.left_in(folder) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_command_the_shell_of_the_user_reads_commands(shell: str) -> None:
    with runs.run_folder() as folder:
        environment = runs.environment(folder, SHELL=shell)
        process = runs.start(folder, stdin=subprocess.PIPE, env=environment)
        printed, said = process.communicate(f"psql -Atc '{SQL}'\nexit 5\n", timeout=runs.RUN_SECONDS)
        assert (printed, process.returncode) == ("42\n", 5)
        assert "leave the shell to remove everything" in said
        assert runs.left_in(folder) == []


def test_a_plain_user_runs_it_too() -> None:
    with runs.run_folder() as folder:
        done = runs.run(folder, "--", "sh", "-c", "id -un; psql -Atc 'SELECT 42'", program=as_user())
        assert (done.stdout, done.stderr, done.returncode) == (f"{USER}\n42\n", "", 0)
        assert runs.left_in(folder) == []
        assert pwd.getpwuid(os.geteuid()).pw_name != USER


def test_an_ephemeral_service_takes_a_new_directory_and_no_other() -> None:
    with runs.run_folder() as folder:
        (folder / "used").mkdir()
        (folder / "used" / "kept").write_text("")
        done = subprocess.run(
            [*("cenote", "serve", "--ephemeral", "--port=0"), f"--data-dir={folder / 'used'}"],
            capture_output=True,
            text=True,
            env=runs.environment(folder),
            check=False,
            timeout=runs.RUN_SECONDS,
        )
        assert done.returncode == 1
        assert "is not empty, and --ephemeral removes its data directory at the end" in done.stderr
        assert (folder / "used" / "kept").exists()
