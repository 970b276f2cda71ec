"""``cenote run`` that is told to end, or killed: the command and the service end, and nothing is left."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cenote.host import processes
from cenote.model.paths import Layout
from cenote.server import bootstrap
from tests.support import runs
from tests.support.service import CENOTE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.long

READY = "echo ready; "
LONG = "sleep 987654"
# Processes that a kill of the command alone would leave: of its group, and of another session.
FAMILY = f"{LONG} & setsid {LONG} & {READY} {LONG}; true"


def started(
    folder: Path, script: str, *options: str, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """Start it with a script for ``sh``, and wait until that says that it is ready."""
    process = runs.start(folder, *options, "--", "sh", "-c", script, stdin=stdin)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate(timeout=runs.RUN_SECONDS)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit code, and what was said on stderr."""
    said = process.communicate(timeout=runs.RUN_SECONDS)[1]
    return process.returncode, said


def keeper_of(process: subprocess.Popen[str], _folder: Path) -> int:
    (pid,) = processes.children(process.pid)
    return pid


def front_of(process: subprocess.Popen[str], _folder: Path) -> int:
    return process.pid


def service_of(_process: subprocess.Popen[str], folder: Path) -> int:
    (found,) = folder.glob("cenote-*")
    pid = bootstrap.serving_pid(Layout(found))
    assert pid is not None
    return pid


def _wait_for_a_directory(folder: Path) -> None:
    wait_until("there is a directory", 60, lambda: list(folder.glob("cenote-*")))


Victim = Callable[[subprocess.Popen[str], Path], int]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_passed_on_to_the_command(number: signal.Signals) -> None:
    with runs.run_folder() as folder:
        process = started(folder, f"{READY} exec {LONG}", "--no-cluster")
        process.send_signal(number)
        assert ended(process) == (128 + number, "")
        assert runs.left_in(folder) == []


def test_a_command_that_handles_a_signal_has_its_own_exit_code() -> None:
    with runs.run_folder() as folder:
        process = started(folder, f"trap 'exit 9' TERM; {READY} while :; do sleep 0.1; done", "--no-cluster")
        process.send_signal(signal.SIGTERM)
        assert ended(process) == (9, "")


def test_what_the_caller_ignores_ends_nothing() -> None:
    with runs.run_folder() as folder:
        process = runs.start(
            folder,
            *("--no-cluster", "--", "sh", "-c", f"{READY} read line; exit 4"),
            stdin=subprocess.PIPE,
            program=("nohup", CENOTE),
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.communicate("go on\n", timeout=runs.RUN_SECONDS)
        assert process.returncode == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_told_to_end_at_any_moment_of_its_start(number: signal.Signals) -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to wait as long again: CENOTE_TEST_SEED={seed}")
    chance = random.Random(seed)
    for _ in range(3):
        with runs.run_folder() as folder:
            process = runs.start(folder, "--", "sh", "-c", LONG)
            _wait_for_a_directory(folder)
            time.sleep(chance.uniform(0, 2))  # the moment is the random point
            process.send_signal(number)
            assert ended(process)[0] == 128 + number
            assert runs.left_in(folder) == []


def sleeping(folder: Path) -> int:
    return sum(arguments.startswith("sleep") for arguments in runs.running_in(folder).values())


@pytest.mark.parametrize(
    "victims",
    [(front_of,), (keeper_of,), (front_of, keeper_of), (keeper_of, service_of), (service_of, front_of)],
    ids=lambda victims: " and ".join(victim.__name__.removesuffix("_of") for victim in victims),
)
def test_whatever_is_killed_everything_goes(victims: tuple[Victim, ...]) -> None:
    with runs.run_folder() as folder:
        # With both gone, nothing knows of the processes that the command itself has started.
        alone = victims == (front_of, keeper_of)
        process = started(folder, f"{READY} exec {LONG}" if alone else FAMILY)
        # What the shell starts in the background may not be a sleep yet when the command is ready.
        wait_until("the command has started them all", 60, lambda: sleeping(folder) == (1 if alone else 3))
        for pid in [victim(process, folder) for victim in victims]:
            os.kill(pid, signal.SIGKILL)
        assert ended(process)[0] in (-signal.SIGKILL, 128 + signal.SIGKILL)
        runs.wait_until_nothing_is_left(folder)


def test_a_service_that_dies_is_reported_while_the_command_goes_on() -> None:
    with runs.run_folder() as folder:
        process = started(folder, f"{READY} read line; echo went on; exit 3", stdin=subprocess.PIPE)
        os.kill(service_of(process, folder), signal.SIGKILL)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("cenote: the service has ended while the command runs")
        printed, _ = process.communicate("\n", timeout=runs.RUN_SECONDS)
        assert (printed, process.returncode) == ("went on\n", 3)
        assert runs.left_in(folder) == []


def test_what_a_command_leaves_running_is_not_killed() -> None:
    with runs.run_folder() as folder:
        process = started(folder, f"{LONG} > /dev/null 2>&1 & {READY} true", "--no-cluster")
        assert ended(process) == (0, "")
        assert list(runs.running_in(folder).values()) == [LONG]


class Terminal:
    """``cenote run`` as the foreground job of an interactive shell's terminal."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = runs.environment(folder, **variables)
            os.execve(CENOTE, [CENOTE, "run", *arguments], environment)  # noqa: S606 - what a user types
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, text: str) -> None:
        def seen() -> bool:
            self._read()
            return text in self.text

        try:
            wait_until(f"the terminal shows {text!r}", 120, seen)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def code(self) -> int:
        found = wait_until("it has ended", 120, self._poll)
        os.close(self._master)
        return os.waitstatus_to_exitcode(found[0])

    def _poll(self) -> list[int]:
        """Return its status once it has ended; it does not while nobody reads what it prints."""
        self._read()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return [status] if pid else []

    def _read(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            try:
                self.text += os.read(self._master, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                return


def test_ctrl_c_reaches_the_command_once() -> None:
    wait = 'while [ -z "$n" ]; do sleep 0.1; done; sleep 1; exit ${#n}'
    script = f"trap 'echo caught; n=x$n' INT; echo ready; {wait}"
    with runs.run_folder() as folder:
        terminal = Terminal(folder, "--no-cluster", "--", "bash", "-c", script)
        terminal.read_until("ready")
        terminal.type("\x03")
        terminal.read_until("caught")
        assert terminal.code() == 1
        assert runs.left_in(folder) == []


def test_ctrl_c_ends_a_command_that_does_not_handle_it() -> None:
    with runs.run_folder() as folder:
        terminal = Terminal(folder, "--no-cluster", "--", "sh", "-c", LONG)
        # dash 0.5.12 loses a SIGINT that comes while it becomes another program: 12 of 60 without us.
        wait_until("it runs", 120, lambda: LONG in runs.running_in(folder).values())
        terminal.type("\x03")
        assert terminal.code() == 128 + signal.SIGINT
        assert runs.left_in(folder) == []


def test_ctrl_c_during_the_start_ends_it() -> None:
    with runs.run_folder() as folder:
        terminal = Terminal(folder, "--no-cluster", "--", "sh", "-c", LONG)
        _wait_for_a_directory(folder)
        terminal.type("\x03")
        assert terminal.code() == 128 + signal.SIGINT
        assert runs.left_in(folder) == []


def test_a_shell_in_a_terminal_has_its_jobs() -> None:
    with runs.run_folder() as folder:
        terminal = Terminal(folder, SHELL="/bin/bash", HOME=str(folder), PAGER="cat")
        terminal.read_until("leave the shell to remove everything")
        terminal.type("psql -XAtc \"SELECT 'x' || 6 * 7\"\n")
        terminal.read_until("x42")
        terminal.type(f"{LONG}\n")
        wait_until("it runs", 60, lambda: LONG in runs.running_in(folder).values())
        terminal.type("\x1a")  # Ctrl-Z
        terminal.read_until("Stopped")
        terminal.type("kill %1; exit 6\n")
        terminal.read_until("exit")
        terminal.type("exit 6\n")  # a shell with a stopped job asks once
        assert terminal.code() == 6
        runs.wait_until_nothing_is_left(folder)
