"""Runs pgBackRest as the account of the servers, with the lowest priority for processor and disk.

Configuration and passphrases are in a file that only that account can read; arguments are no secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
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
    output: bytes
    errors: bytes


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
        content: bytes | None = None,
    ) -> str:
        """Run a command in a directory and return what it prints; BackupError if it fails or takes too long.

        ``content`` is what it reads.  A command that is cancelled is ended.
        """
        found = await self.read(
            configuration, directory, stanza, *arguments, seconds=seconds, content=content
        )
        return found.decode(errors="replace")

    async def read(
        self,
        configuration: Path,
        directory: Path,
        stanza: str,
        *arguments: str,
        seconds: float | None = ASK_SECONDS,
        content: bytes | None = None,
    ) -> bytes:
        """The same, for what need not be text."""
        argv = [str(self._program), f"--config={configuration}"]
        argv += [f"--stanza={stanza}"] if stanza else []
        try:
            done = await run_idle([*argv, *arguments], directory, self._account, seconds, content)
        except OSError as error:
            raise BackupError(f"pgBackRest cannot be started: {error.strerror}") from None
        except TimeoutError:
            raise BackupError(f"the repository has not answered within {seconds:.0f} seconds") from None
        if done.code != 0:
            code, message = backup_info.error_of((done.errors or done.output).decode(errors="replace"))
            raise BackupError(message or f"pgBackRest has ended with code {done.code}", code)
        return done.output


async def run_idle(
    argv: Sequence[str],
    directory: Path,
    account: Account,
    seconds: float | None,
    content: bytes | None = None,
) -> Done:
    """Run a command with the lowest priority for processor and disk; TimeoutError if it takes too long.

    ``content`` is what it reads.  A command that is cancelled is ended.
    """
    process = _start([*_idle(), *argv], directory, account, content)
    waiting = _waiting(process)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(waiting)
    except (TimeoutError, asyncio.CancelledError):
        await _end(process, waiting)
        raise


def _start(
    argv: Sequence[str], directory: Path, account: Account, content: bytes | None
) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as given:  # has no name
        given.write(content or b"")
        given.seek(0)
        # In our session, where ``processes.reap`` leaves it alone, and not in our group, which a terminal
        # interrupts.
        return subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL if content is None else given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment.OF_PROGRAMS,
            process_group=0,
            umask=0o077,
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
        )


async def _end(process: subprocess.Popen[bytes], waiting: asyncio.Future[Done]) -> None:
    """End a command: pgBackRest removes its lock on SIGTERM."""
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


def _waiting(process: subprocess.Popen[bytes]) -> asyncio.Future[Done]:
    """Wait for a command in a thread that keeps nobody from ending, since a command may hang for ever."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[Done] = loop.create_future()

    def tell(done: Done) -> None:
        if not ended.done():
            ended.set_result(done)

    def wait() -> None:
        done = _wait(process)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, done)

    threading.Thread(target=wait, name="pgbackrest", daemon=True).start()
    return ended


def _wait(process: subprocess.Popen[bytes]) -> Done:
    output, errors = b"", b""
    with contextlib.suppress(ValueError):  # a pipe that was closed
        output, errors = process.communicate()
    return Done(process.returncode, output, errors)
