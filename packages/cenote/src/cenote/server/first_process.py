"""A process that runs to its end before the service has a supervisor; what it reads stays in it."""

from __future__ import annotations

import os
import signal

from cenote.errors import CenoteError
from cenote.server import child
from cenote.server.child import Body, Failed
from cenote.server.wakeups import Wakeups

LOOK_SECONDS = 1.0


def attend(name: str, body: Body, wakeups: Wakeups) -> bool:
    """Run ``body`` in a process and return True; False if it was told to end meanwhile.  Raise its error."""
    forked = child.fork(name, body, wakeups.close)
    failure: CenoteError | None = None
    with forked.channel.socket:
        while True:
            ended, status = os.waitpid(forked.pid, os.WNOHANG)
            message = forked.channel.poll()
            if isinstance(message, Failed):
                failure = message.error()
            if ended:
                break
            if wakeups.stopping:
                os.kill(forked.pid, signal.SIGKILL)
                os.waitpid(forked.pid, 0)
                return False
            # The end of the channel is told again and again, so that is not waited for.
            wakeups.wait([], LOOK_SECONDS)
    forked.status = os.waitstatus_to_exitcode(status)
    if forked.status != 0:
        raise failure or CenoteError(f"the process {name!r} {forked.fate}")
    return True
