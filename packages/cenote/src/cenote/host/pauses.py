"""Begins, prolongs and ends pauses of poolers: their files, and the process that ends one in our place.

An owner prolongs its pause while it lives, so one that dies leaves its clients waiting for a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from cenote.errors import CenoteError
from cenote.host import files, processes, resume_guard, safe_open
from cenote.model import environment, pauses
from cenote.model.pauses import LEASE, LONGEST, Moment, Pause

log = logging.getLogger(__name__)

_PROLONG_SECONDS = LEASE / 5
_START_SECONDS = 10.0
_LOCK_SECONDS = 6.0  # longer than a guard waits for the answer to its RESUME


@dataclass(frozen=True, slots=True)
class Pooler:
    """The pooler to pause: the folder of its cluster, and the unix socket of its console."""

    folder: Path
    console: Path


class Hold:
    """A pause that this process holds: it is prolonged until ``let_go`` or, at most, for ``LONGEST``.

    ``pools`` are those that the pooler has said that they are paused.
    """

    pools: frozenset[str] = frozenset()

    def __init__(self, pooler: Pooler, pause: Pause, guarding: asyncio.Task[None] | None = None) -> None:
        """``guarding`` ends once the guard has said that it runs."""
        self._pooler, self._pause, self._guarding = pooler, pause, guarding
        self._task = asyncio.create_task(self._prolong(), name=f"pause {pause.id}")

    def lasts(self) -> bool:
        """Return whether it is in force and being prolonged, so that the pooler need not be held anew."""
        found = read(self._pooler.folder)
        is_ours = found is not None and found.id == self._pause.id and not found.is_over(now())
        return is_ours and not self._task.done()

    def let_go(self) -> None:
        """Prolong it no further; it ends by its deadline unless ``remove`` ends it before."""
        self._task.cancel()

    async def _prolong(self) -> None:
        for _ in range(int(LONGEST / _PROLONG_SECONDS)):
            await asyncio.sleep(_PROLONG_SECONDS)
            try:
                async with _locked(self._pooler.folder):
                    found = read(self._pooler.folder)
                    if found is None or found.id != self._pause.id:
                        return
                    _write(self._pooler.folder, _lasting(self._pause))
            except (CenoteError, OSError) as error:
                log.warning("cannot prolong a pause of %s: %s", self._pooler.folder, error)
        log.warning("a pause has lasted %g seconds and is given up: %s", LONGEST, self._pooler.folder)


class SpareGuard:
    """A guard that is started before it is needed, for a pause that cannot wait for its start."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start it, unless there is one; CenoteError if it cannot be."""
        if self._child is None or processes.identify(self._child.pid) is None:
            self.close()
            self._child = _started()

    def take(self, arguments: Sequence[str]) -> subprocess.Popen[bytes] | None:
        """Return the guard, which has been given its arguments; None if there is none."""
        child, self._child = self._child, None
        if child is None:
            return None
        assert child.stdin is not None
        with contextlib.suppress(OSError), child.stdin as input:
            input.write(json.dumps(arguments).encode() + b"\n")
            return child
        return None

    def close(self) -> None:
        if self._child is not None:
            for stream in (self._child.stdin, self._child.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()
            self._child = None


async def hold(pooler: Pooler, owner: str, why: str, spare: SpareGuard | None = None) -> Hold:
    """Say that the pooler is paused, and start the process that ends the pause if we cannot.

    The pooler itself is paused by the caller, afterwards.  CenoteError while another owner holds it.
    """
    moment = now()
    pause = _lasting(Pause(uuid4().hex, owner, why, "", 0.0, moment.seconds))
    async with _locked(pooler.folder):
        found = read(pooler.folder)
        if found is not None and not found.is_over(moment):
            if found.owner != owner:
                raise CenoteError(f"the pools are paused by the {found.owner}: {found.why}")
            pause = replace(pause, since=found.since)  # it goes on
        _write(pooler.folder, pause)
    arguments = (str(pooler.console), str(pooler.folder), pauses.FILE, pause.id)
    taken = None if spare is None else spare.take(arguments)
    guarding = asyncio.create_task(asyncio.to_thread(_start_guard, arguments, taken), name="guard of a pause")
    if taken is None:
        await guarding
    else:  # it was started before, and reads its arguments whatever becomes of us
        guarding.add_done_callback(_log_failure)
    return Hold(pooler, pause, guarding)


async def remove(folder: Path, *owners: str) -> None:
    """End a pause that is one of these owners' or over; its guard ends, too."""
    async with _locked(folder):
        found = read(folder)
        if found is None or found.owner in owners or found.is_over(now()):
            files.remove(pauses.file_of(folder))


def read(folder: Path) -> Pause | None:
    return pauses.decode(files.read(pauses.file_of(folder)))


def now() -> Moment:
    return Moment(resume_guard.boot_id(), resume_guard.seconds_since_boot())


def _lasting(pause: Pause) -> Pause:
    moment = now()
    return replace(pause, boot=moment.boot, until=moment.seconds + LEASE)


def _write(folder: Path, pause: Pause) -> None:
    # No pause outlives the boot, so a power failure may take the file.
    files.write(pauses.file_of(folder), pause.encode(), 0o600, None, durable=False)


@contextlib.asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    directory = safe_open.open_path(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.ExitStack() as stack:
            deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
            while True:
                try:
                    stack.enter_context(resume_guard.locked(directory))
                    break
                except BlockingIOError:
                    if asyncio.get_running_loop().time() > deadline:
                        raise CenoteError(f"another process keeps {folder} locked") from None
                    await asyncio.sleep(0.01)
            yield
    finally:
        os.close(directory)


def _start_guard(arguments: Sequence[str], taken: subprocess.Popen[bytes] | None) -> None:
    """Wait until the guard that was taken runs, or start one; CenoteError if that does not run."""
    if not _is_ready(taken) and not _is_ready(_started(*arguments)):
        raise CenoteError("the process that ends a pause does not start")


def _log_failure(guarding: asyncio.Task[None]) -> None:
    if not guarding.cancelled() and (error := guarding.exception()) is not None:
        log.warning("a pause has no guard: %s", error)


def _started(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a guard in a session of its own.

    It is executed rather than forked, so it has nothing of our memory, threads and descriptors; and as our
    own user, since an interpreter below a closed home could not be executed by the servers' account.
    """
    script = str(Path(resume_guard.__file__))
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", script, *arguments],
            cwd="/",
            stdin=subprocess.DEVNULL if arguments else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment.OF_PROGRAMS,
            start_new_session=True,
        )
    except OSError as error:
        raise CenoteError(f"cannot start the process that ends a pause: {error}") from None
    child.returncode = 0  # ``processes.reap`` collects it
    return child


def _is_ready(guard: subprocess.Popen[bytes] | None) -> bool:
    if guard is None:
        return False
    assert guard.stdout is not None
    with guard.stdout as output:
        readable, _, _ = select.select([output], [], [], _START_SECONDS)
        return bool(readable and output.readline())
