"""Signals of a process without an event loop: they end a wait, and are looked at between two steps."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterable
from types import TracebackType

ENDING = (signal.SIGINT, signal.SIGTERM)


class Wakeups:
    """Takes SIGINT, SIGTERM and SIGCHLD while it is entered.

    A second SIGINT or SIGTERM has no effect, since the clean-up must be completed.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)

    def __enter__(self) -> Wakeups:
        for number in (*ENDING, signal.SIGCHLD):
            signal.signal(number, self._take)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in ENDING:  # until the process has ended
            signal.signal(number, signal.SIG_IGN)
        self.close()

    def close(self) -> None:
        """Close the descriptors: in a forked process, which has signals of its own."""
        self._read.close()
        self._write.close()

    def wait(self, sockets: Iterable[socket.socket], seconds: float) -> None:
        """Wait until a signal has arrived, one of the sockets can be read, or the time is up."""
        poll = select.poll()  # no descriptor of its own, which a fork would share
        for one in (self._read, *sockets):
            poll.register(one, select.POLLIN)
        poll.poll(seconds * 1000)
        try:
            while self._read.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _take(self, number: int, _frame: object) -> None:
        if number in ENDING:
            self.stopping = True
