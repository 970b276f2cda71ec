"""Children that processes of ours have left to us when they died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from cenote.host import processes

_PAUSE = 0.01


def kill(is_spared: Callable[[int], bool], seconds: float) -> None:
    """Kill our children that are not spared, for some seconds or until there are none.

    Those of a child become ours when it dies, so they end one generation after the other.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [pid for pid in processes.children(os.getpid()) if not is_spared(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not left:
            return
        time.sleep(_PAUSE)
