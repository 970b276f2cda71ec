"""A command with an ephemeral service of its own, for ``cenote run``.

Two processes see to it that everything ends with the command.  Each of them ends what the other one leaves
when it is killed:

    front     what the caller has started: passes signals on, and returns the exit code
    keeper    its child: starts the service and the command, and ends the service after the command

The command is in the process group of the front, so Ctrl-C and Ctrl-Z reach it without us.  The keeper has a
group of its own and the service a session, so what is sent to the caller's group does not reach them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Collection
from pathlib import Path

from cenote.errors import CenoteError
from cenote.host import files, processes
from cenote.server.command_keeper import TYPED, Job, Keeper, block_signals
from cenote.server.run_remains import end_what_is_left

FAILED = 125  # as of env(1), timeout(1) and others: not the command has failed, but what starts it
SI_KERNEL = 0x80  # asm-generic/siginfo.h: sent by the kernel, as a terminal does to a whole process group


def run(job: Job) -> int:
    """Run the command and return its exit code: 128 + n for signal n, and 125 when it could not be started.

    Everything that belongs to the service has ended and is removed when this returns.
    """
    strangers = frozenset(processes.children(os.getpid()))  # of a shell that has become this process
    handled, mask = block_signals()
    processes.become_subreaper()  # for what a killed keeper leaves
    folder = Path(tempfile.mkdtemp(prefix="cenote-"))
    front = os.getpid()
    sys.stdout.flush()
    keeper = os.fork()
    if keeper == 0:
        code = FAILED
        try:
            code = _keep(Keeper(job, folder, front, handled, mask))
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)
    code = _watch(keeper, handled)
    if code < 0:  # it was killed
        with contextlib.suppress(CenoteError):
            end_what_is_left(folder, strangers)
    with contextlib.suppress(OSError):
        files.remove(folder)
    return code if code >= 0 else 128 - code


def _keep(keeper: Keeper) -> int:
    """Run the command; whatever goes wrong, end the service."""
    code = FAILED
    try:
        code = keeper.run()
    except CenoteError as error:
        keeper.say(error.message)
    except BaseException:
        keeper.say("a defect in Cenote")
        traceback.print_exc()
    finally:
        keeper.end()
    return code


def _watch(keeper: int, handled: Collection[int]) -> int:
    """Pass signals on to the keeper until it has ended; return its exit code, or a negative signal."""
    while True:
        seen = signal.sigwaitinfo(handled)
        if seen.si_signo == signal.SIGCHLD:
            with contextlib.suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
                    if ended[0] == keeper:
                        return os.waitstatus_to_exitcode(ended[1])
        else:
            # The command has what a terminal sends; the keeper heeds it only before the command is there.
            os.kill(keeper, TYPED if seen.si_code == SI_KERNEL else seen.si_signo)
