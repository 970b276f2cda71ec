"""Runs pgBackRest as the account of the servers, with the lowest priority for processor and disk.

Configuration and passphrases are in a file that only that account can read; arguments are no secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host.processes import Account
from cenote.model import environment
from cenote.model.paths import IDLE
from cenote.rules import backup_info

ASK_SECONDS = 60.0  # that a question to the repository may take
_END_SECONDS = 10.0


class BackupError(CenoteError):
    """pgBackRest has failed; the message is its own, ``code`` its number."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    output: str
    errors: str


class BackupProgram:
    """pgBackRest on this host."""

    def __init__(self, program: Path, account: Account) -> None:
        self._program, self._account = program, account

    async def run(
        self,
        configuration: Path,
        directory: Path,
        stanza: str,
        *arguments: str,
        seconds: float | None = ASK_SECONDS,
        content: str | None = None,
    ) -> str:
        """Run a command in a directory and return what it prints; BackupError if it fails or takes too long.

        ``content`` is what it reads.  A command that is cancelled is ended.
        """
        argv = [*_idle(), str(self._program), f"--config={configuration}"]
        argv += [f"--stanza={stanza}"] if stanza else []
        try:
            process = self._start([*argv, *arguments], directory, reads=content is not None)
        except OSError as error:
            raise BackupError(f"pgBackRest cannot be started: {error.strerror}") from None
        waiting = _waiting(process, content)
        try:
            async with asyncio.timeout(seconds):
                done = await asyncio.shield(waiting)
        except TimeoutError:
            await self._end(process, waiting)
            raise BackupError(f"the repository has not answered within {seconds:.0f} seconds") from None
        except asyncio.CancelledError:
            await self._end(process, waiting)
            raise
        if done.code != 0:
            code, message = backup_info.error_of(done.errors or done.output)
            raise BackupError(message or f"pgBackRest has ended with code {done.code}", code)
        return done.output

    def _start(self, argv: Sequence[str], directory: Path, *, reads: bool) -> subprocess.Popen[str]:
        # In our session, where ``processes.reap`` leaves it alone, and not in our group, which a terminal
        # interrupts.
        return subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment.OF_PROGRAMS,
            process_group=0,
            umask=0o077,
            user=self._account.uid,
            group=self._account.gid,
            extra_groups=None if self._account.uid is None else [],
        )

    async def _end(self, process: subprocess.Popen[str], waiting: asyncio.Future[Done]) -> None:
        """End a command: it removes its lock on SIGTERM."""
        process.terminate()
        ended, _ = await asyncio.wait([waiting], timeout=_END_SECONDS)
        if not ended:
            process.kill()
            await asyncio.wait([waiting], timeout=_END_SECONDS)  # no signal ends one whose disk hangs


def _idle() -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for option in (IDLE[:3], IDLE[3:]):
        if Path(option[0]).exists():
            found += option
    return found


def _waiting(process: subprocess.Popen[str], content: str | None) -> asyncio.Future[Done]:
    """Wait for a command in a thread that keeps nobody from ending, since a command may hang for ever."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Done] = loop.create_future()

    def tell(done: Done) -> None:
        if not ended.done():
            ended.set_result(done)

    def wait() -> None:
        done = _wait(process, content)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, done)

    threading.Thread(target=wait, name="pgbackrest", daemon=True).start()
    return ended


def _wait(process: subprocess.Popen[str], content: str | None) -> Done:
    output, errors = "", ""
    with contextlib.suppress(ValueError):  # a pipe that was closed
        output, errors = process.communicate(content)
    return Done(process.returncode, output, errors)
