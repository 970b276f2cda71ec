"""Stops servers: signals go to a pidfd that was opened before the process behind it was looked at.

So no process of another user is signalled, whatever a pid file says, and none that has taken over a pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from cenote.errors import CenoteError
from cenote.host import process_identity, processes
from cenote.model.changes import Program
from cenote.model.processes import Process
from cenote.model.timing import DEFAULT, Timing


async def stop_program(program: Program) -> None:
    """Stop the process of a program, if it runs."""
    found, process = processes.directory_of(program), processes.find(program)
    if found is not None and process is not None:
        await stop(process, program.stop_signal, program.kill_after, user=found[1])


async def signal_program(program: Program, number: signal.Signals) -> None:
    """Signal the process of a program, if it runs."""
    found, process = processes.directory_of(program), processes.find(program)
    if found is not None and process is not None:
        with _held(process, found[1]) as descriptor:
            if descriptor is not None:
                _send(descriptor, number)


async def stop(
    process: Process,
    how: signal.Signals,
    kill_after: float,
    timing: Timing = DEFAULT,
    *,
    user: int | None = None,
) -> None:
    """Signal a process of this user, by default our own, and wait until it has ended.

    After ``kill_after`` seconds, kill it.  CenoteError if it does not even end then, as when it waits for a
    disk that does not respond; and if it is another user's, which is left alone.
    """
    with _held(process, os.geteuid() if user is None else user) as descriptor:
        if descriptor is None:
            return
        _send(descriptor, how)
        if not await processes.ended(process, kill_after):
            _send(descriptor, signal.SIGKILL)
            if not await processes.ended(process, timing.kill_timeout):
                raise CenoteError(f"process {process.pid} does not end")


@contextlib.contextmanager
def _held(process: Process, user: int) -> Iterator[int | None]:
    """Open a pidfd of a process of this user; None if it has ended.

    What is read of the pid after that is of the process behind the pidfd, or that has ended.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        is_its = process_identity.runs_as(process.pid, user)
        if processes.identify(process.pid) != process:
            yield None
        elif not is_its:
            raise CenoteError(f"process {process.pid} belongs to another user and is left alone")
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _send(descriptor: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, how)
