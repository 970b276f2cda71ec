"""Noticing at once that PostgreSQL has died."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any

SERVER_POLLING = 0.2  # seconds between two looks for a PostgreSQL to watch, while there is none
END_POLLING, END_SECONDS = 0.005, 1.0  # of the processes that a dead PostgreSQL leaves


def notice_death(data: str) -> None:
    """Have Patroni look at its PostgreSQL as soon as that has ended, instead of in its next round.

    What to do about it is left to Patroni, which gives up the leader key only if it still holds that, and if
    another node can take over.
    """
    from patroni.ha import Ha

    begin = Ha.__init__

    def begin_watched(self: Any, patroni: Any) -> None:
        begin(self, patroni)
        watch = threading.Thread(target=_watch_server, args=(data, self.wakeup), daemon=True)
        watch.start()

    Ha.__init__ = begin_watched


def _watch_server(data: str, on_death: Callable[[], None]) -> None:
    while True:
        server = _server_of(data)
        if server is None:
            time.sleep(SERVER_POLLING)
            continue
        pid, descriptor = server
        try:
            _wait_for_end(descriptor)
        finally:
            os.close(descriptor)
        # A process of the server's may go on for a moment, and to Patroni one that nobody has reaped lives.
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and (os.path.exists(f"/proc/{pid}") or _is_worked_in(data)):
            time.sleep(END_POLLING)
        on_death()


def _wait_for_end(process: int) -> None:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()


def _server_of(data: str) -> tuple[int, int] | None:
    """Return the pid of the server that works in the data directory, and a descriptor of that process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            pid = int(file.readline())
        descriptor = os.pidfd_open(pid)
        if _works_in(str(pid), data):  # and no other process has got its pid
            return pid, descriptor
        os.close(descriptor)
    return None


def _is_worked_in(data: str) -> bool:
    return any(_works_in(entry, data) for entry in os.listdir("/proc") if entry.isdigit())


def _works_in(pid: str, data: str) -> bool:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd") == data
    return False
