"""Runs pg_dump and pg_restore as the account of the servers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from cenote.errors import CenoteError
from cenote.host.processes import Account
from cenote.logs.terminal_text import printable
from cenote.model import environment

_MOST = 2_000  # characters of what a program has said
_MIB = 1024 * 1024
_MOST_OUTPUT, _MOST_ERRORS, _CHUNK = 128 * _MIB, 64 * 1024, 64 * 1024  # bytes
_Process = subprocess.Popen[bytes]


class ProgramFailed(CenoteError):
    """A program has failed; the message is its own."""


async def run(
    argv: Sequence[str], directory: Path, account: Account, variables: Mapping[str, str]
) -> tuple[str, str]:
    """Run a program and return what it prints and what it says of errors; cancelled, it is ended."""
    process = _started(argv, directory, account, variables, subprocess.DEVNULL)
    [(output, errors)] = await _ended(process)
    return output, errors


async def piped(
    first: Sequence[str],
    second: Sequence[str],
    directory: Path,
    account: Account,
    variables: tuple[Mapping[str, str], Mapping[str, str]],
) -> None:
    """Have the second program read what the first one prints; cancelled, both are ended."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:
        one = _started(first, directory, account, variables[0], subprocess.DEVNULL, sink)
        try:
            two = _started(second, directory, account, variables[1], source)
        except BaseException:
            _end(one)
            raise
    await _ended(one, two)


def _started(
    argv: Sequence[str],
    directory: Path,
    account: Account,
    variables: Mapping[str, str],
    stdin: int | IO[bytes],
    stdout: int | IO[bytes] = subprocess.PIPE,
) -> _Process:
    return subprocess.Popen(
        argv,
        cwd=directory,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**environment.OF_PROGRAMS, "LC_ALL": "C", **variables},
        process_group=0,
        umask=0o077,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
    )


async def _ended(*processes: _Process) -> list[tuple[str, str]]:
    """Wait for the end of programs; ProgramFailed names the first that has failed."""
    loop = asyncio.get_running_loop()
    waiting = [loop.run_in_executor(None, _said, process) for process in processes]
    try:
        said = await asyncio.shield(asyncio.gather(*waiting))
    except asyncio.CancelledError:
        for process in processes:
            _end(process)
        raise
    found = [(output.decode(errors="replace"), errors.decode(errors="replace")) for output, errors in said]
    # The second of two fails, too, once the first one has.
    for process, (_, errors) in zip(processes, found, strict=True):
        if process.returncode != 0 and not _is_consequence(processes, process):
            raise ProgramFailed(f"{_name(process)}: {_last(errors)}")
    for process, (output, _) in zip(processes, found, strict=True):
        if len(output) > _MOST_OUTPUT:
            raise ProgramFailed(f"{_name(process)} lists more than {_MOST_OUTPUT // _MIB} MiB of definitions")
    return found


def _said(process: _Process) -> tuple[bytes, bytes]:
    """Return the beginning of what a program prints, and the end of its errors, once it has ended.

    A source decides how much both are: pg_dump passes on whatever is said to it.
    """
    printed, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    errors += data
                    del errors[:-_MOST_ERRORS]
                elif len(printed) <= _MOST_OUTPUT:
                    printed += data
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return bytes(printed), bytes(errors)


def _is_consequence(processes: Sequence[_Process], process: _Process) -> bool:
    """Return whether a program has failed since the one that reads from it has ended."""
    return process.returncode == -signal.SIGPIPE and process is not processes[-1]


def _name(process: _Process) -> str:
    argv = process.args
    return Path(str(argv[0]) if isinstance(argv, list | tuple) else str(argv)).name


def _last(errors: str) -> str:
    lines = [
        line for line in errors.splitlines() if "error: " in line or line.startswith(("ERROR", "DETAIL"))
    ]
    text = " ".join(" ".join(lines or errors.splitlines()[-3:]).split())
    return printable(text[:_MOST]) or "it has failed and does not say why"


def _end(process: _Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
