"""Runs pg_dump and pg_restore: their messages line by line, and a clean end when it is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

EachLine = Callable[[str], None]
_END_SECONDS = 15


class ChildFailed(Exception):
    """A program ended with another code than 0; ``output`` is what it wrote to stderr."""

    def __init__(self, program: str, code: int, output: str) -> None:
        super().__init__(f"{program} ended with {code}")
        self.code, self.output = code, output


def run(
    program: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    each: EachLine = lambda _line: None,
) -> str:
    """Run a program to its end, give each line of its stderr to ``each``, and return all of them.

    It has a session of its own: Ctrl-C reaches us alone, and we end it with its workers.
    """
    process = subprocess.Popen(
        [program, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        encoding="utf-8",
        errors="backslashreplace",
    )
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            each(line.rstrip("\n"))
        code = process.wait()
    finally:
        _end(process)
    if code != 0:
        raise ChildFailed(program.name, code, "".join(lines))
    return "".join(lines)


def output_of(program: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what a program prints; ChildFailed if it fails."""
    done = subprocess.run(
        [program, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    if done.returncode != 0:
        raise ChildFailed(program.name, done.returncode, done.stderr)
    return done.stdout


def _end(process: subprocess.Popen[str]) -> None:
    """End the program and its workers; both cancel their statements on SIGTERM."""
    if process.poll() is None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
                break
    if process.stderr is not None:
        process.stderr.close()
