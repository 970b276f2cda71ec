"""``cenote run`` in a folder of its own, and what is left of it there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cenote.host import processes
from tests.support import process_table
from tests.support.folders import server_folder
from tests.support.service import CENOTE, clean_environment
from tests.support.waiting import wait_until

RUN_SECONDS = 120


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for temporary files, which other accounts can write; all that runs there is ended."""
    with server_folder() as folder:
        folder.chmod(0o1777)
        try:
            yield folder
        finally:
            for pid in running_in(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = f"{Path(CENOTE).parent}:{os.environ['PATH']}"
    return clean_environment() | {"TMPDIR": str(folder), "PATH": path} | more


def start(
    folder: Path, *arguments: str, program: Sequence[str] = (CENOTE,), **options: Any
) -> subprocess.Popen[str]:
    """Start ``cenote run`` with pipes for what it reads and prints."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": environment(folder)} | options
    return subprocess.Popen(
        [*program, "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        **given,
    )


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(folder, *arguments, **options)
    printed, said = process.communicate(timeout=RUN_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, said)


def running_in(folder: Path) -> dict[int, str]:
    """Return the processes that were started with this TMPDIR or work below it, and their arguments."""
    found = {process.pid for process in processes.below(folder)}
    variable = f"TMPDIR={folder}\0".encode()
    found |= {pid for pid, variables in process_table.files("environ") if variable in variables}
    living = [pid for pid in found if processes.identify(pid) is not None]
    return {pid: " ".join(line) for pid, line in process_table.command_lines(living).items()}


def left_in(folder: Path) -> list[str]:
    """Return the processes and directories of a service that are there."""
    return [*running_in(folder).values(), *(path.name for path in folder.glob("*cenote-*"))]


def wait_until_nothing_is_left(folder: Path) -> None:
    wait_until(f"nothing is left in {folder}", 60, lambda: not left_in(folder))
