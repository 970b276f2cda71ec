"""The process of ``cenote run`` that starts the service and the command; see ``command_run``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host import files, privileges, processes
from cenote.model.paths import Layout
from cenote.server import run_remains

FRONT_DIED = signal.SIGRTMAX  # from the kernel
TYPED = signal.SIGRTMAX - 1  # a signal of the terminal, which the command has if it is there
_OURS = (signal.SIGCHLD, FRONT_DIED, TYPED)
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PASSED_ON = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2)

START_SECONDS = 120.0
LOOK_SECONDS = 0.02  # at the file that says that the service is up
LOG_LINES = 40
CANNOT_RUN, NOT_FOUND = 126, 127  # as a shell's


def block_signals() -> tuple[set[int], set[int]]:
    """Block the signals that we wait for; return them, and those that were blocked before.

    What the caller ignores, as nohup(1) does, stays ignored.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would leave us no exit codes
    handled = {*_OURS, *(one for one in _PASSED_ON if signal.getsignal(one) is not signal.SIG_IGN)}
    return handled, {int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, handled)}


class Interrupted(Exception):
    """The run was asked to end before its command was started; ``code`` is its exit code."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


class FrontDied(Exception):
    """The front was killed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run.

    ``service``: the arguments of ``cenote serve --ephemeral``, without a directory.  ``prepare`` returns
    variables of the command; it is called once the service is up, in a process of its own.  ``removed``:
    variables that the command does not get.
    """

    command: tuple[str, ...]
    service: tuple[str, ...]
    prepare: Callable[[Layout], Mapping[str, str]]
    removed: Collection[str] = ()


class Keeper:
    """Runs one command.  ``handled`` and ``mask`` are of ``block_signals``."""

    def __init__(
        self, job: Job, folder: Path, front: int, handled: Collection[int], mask: Collection[int]
    ) -> None:
        self._job, self._layout, self._handled, self._mask = job, Layout(folder), handled, mask
        self._group = os.getpgrp()
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # so that our messages reach the terminal all the same
        processes.become_subreaper()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open until we end
        self._service = self._command = 0  # their pids
        self._ended: dict[int, int | None] = {}  # our own children: exit code, or a negative signal
        self._has_front = True
        privileges.end_with(front, FRONT_DIED)

    def run(self) -> int:
        """Start the service, run the command with it, and return the command's exit code."""
        try:
            self._start_service()
            variables = self._prepare()
            return self._run_command(variables)
        except Interrupted as interrupted:
            return interrupted.code
        except FrontDied:
            self._has_front = False
            return 128 + signal.SIGKILL

    def end(self) -> None:
        """End the service and remove what is left; also the command, if the front was killed."""
        folder = self._layout.data_dir
        if not self._has_front:
            run_remains.end_descendants(folder, {self._service})
        if self._service and self._ended[self._service] is None:
            run_remains.end_service(self._service)
        try:
            run_remains.remove_remains(folder)
        except CenoteError as error:
            self.say(error.message)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"cenote: {text}\n")
            sys.stderr.flush()

    # -- The service

    def _start_service(self) -> None:
        """Start the service, and wait until it serves; CenoteError with its log if it does not."""
        up = self._layout.data_dir / "env"
        arguments = [*self._job.service, f"--data-dir={self._layout.data_dir}", f"--env-file={up}"]
        self._service = self._fork(lambda: self._become_service(arguments), signal.SIGTERM)
        deadline = time.monotonic() + START_SECONDS
        while not up.exists():
            self._see_to_signals(LOOK_SECONDS)
            if self._ended[self._service] is not None:
                raise CenoteError(f"the service did not start:\n{self._end_of_log()}")
            if time.monotonic() > deadline:
                raise CenoteError(
                    f"the service did not start in {START_SECONDS:.0f} s:\n{self._end_of_log()}"
                )

    def _become_service(self, arguments: list[str]) -> None:
        os.setsid()
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for number, to in enumerate((null, self._log.fileno(), self._log.fileno())):
            os.dup2(to, number)
        # -P: a module of the current directory must not take the place of one of ours.
        program = [sys.executable, "-P", "-c", "from cenote.cli import main; main()", "serve", "--ephemeral"]
        os.execv(program[0], [*program, *arguments])  # noqa: S606

    def _end_of_log(self) -> str:
        text = os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")
        lines = [line for line in text.splitlines() if not line.startswith("Cenote serves ")]
        return "\n".join(lines[-LOG_LINES:])

    # -- What is made in the service before the command

    def _prepare(self) -> dict[str, str]:
        """Return the variables that the command gets besides ours."""
        path = self._layout.data_dir / "variables"

        def body() -> None:
            made = self._job.prepare(self._layout)
            files.write(path, json.dumps(dict(made)).encode(), 0o600, None, durable=False)

        preparing = self._fork(body, signal.SIGKILL)
        if self._wait_for(preparing) != 0:
            self._see_to_signals(LOOK_SECONDS)  # the end of the service may be the reason
            what = "has ended" if self._ended[self._service] is not None else "cannot be used"
            raise CenoteError(f"the service {what}; it has logged:\n{self._end_of_log()}")
        variables: dict[str, str] = json.loads(path.read_bytes())
        return variables

    # -- The command

    def _run_command(self, variables: Mapping[str, str]) -> int:
        kept = {name: value for name, value in os.environ.items() if name not in self._job.removed}
        environment = {**kept, **variables}
        self._command = self._fork(lambda: self._become_command(environment), signal.SIGKILL)
        status = self._wait_for(self._command)
        if status != 0 and (said := self._end_of_log()):
            self.say(f"the command has failed, and the service has logged:\n{said}")
        return status if status >= 0 else 128 - status

    def _become_command(self, environment: Mapping[str, str]) -> None:
        with contextlib.suppress(OSError):  # a group whose last process has just ended
            os.setpgid(0, self._group)
        for number in (signal.SIGTTOU, signal.SIGPIPE, signal.SIGXFSZ):  # what Python and we ignore
            signal.signal(number, signal.SIG_DFL)
        name = self._job.command[0]
        try:
            os.execvpe(name, self._job.command, environment)  # noqa: S606 - what the caller wants run
        except FileNotFoundError:
            self.say(f"{name}: command not found")
            os._exit(NOT_FOUND)
        except OSError as error:
            self.say(f"{name}: {error.strerror}")
            os._exit(CANNOT_RUN)

    # -- Processes and signals

    def _fork(self, body: Callable[[], None], at_our_end: signal.Signals) -> int:
        """Run ``body`` in a process of its own, which gets a signal when this one dies."""
        parent = os.getpid()
        pid = os.fork()
        if pid != 0:
            self._ended[pid] = None
            return pid
        status = 1
        try:
            privileges.end_with(parent, at_our_end)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            body()
            status = 0
        except CenoteError as error:
            self.say(error.message)
        except BaseException as error:
            self.say(str(error) or type(error).__name__)
        finally:
            os._exit(status)

    def _wait_for(self, pid: int) -> int:
        """Wait for a child; return its exit code, or a negative signal."""
        while (status := self._ended[pid]) is None:
            self._see_to_signals(None)
        return status

    def _see_to_signals(self, seconds: float | None) -> None:
        """Wait for a signal, and do what it asks for."""
        seen: signal.struct_siginfo | None
        if seconds is None:
            seen = signal.sigwaitinfo(self._handled)
        else:
            seen = signal.sigtimedwait(self._handled, seconds)
        if seen is None:
            return
        number = seen.si_signo
        if number == signal.SIGCHLD:
            self._reap()
        elif number == FRONT_DIED:
            raise FrontDied
        elif self._command:
            if number != TYPED and self._ended[self._command] is None:
                os.kill(self._command, number)
        elif number == TYPED or number in _ENDING:
            raise Interrupted(signal.SIGINT if number == TYPED else number)

    def _reap(self) -> None:
        """Take the exit codes of all that has ended, also of what a dead parent has left to us."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._ended:
                    self._ended[pid] = os.waitstatus_to_exitcode(status)
                if pid == self._service and self._command:
                    self.say(
                        f"the service has ended while the command runs; it has logged:\n{self._end_of_log()}"
                    )
