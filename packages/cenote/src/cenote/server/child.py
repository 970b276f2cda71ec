"""A process that the supervisor forks: its signals, its tie to the supervisor, and what they tell each other.

They speak over a socketpair that keeps the bounds of messages; its end is the end of the other one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from cenote.errors import CenoteError, Misconfigured, Unavailable
from cenote.host import privileges

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s [{process}] %(name)s: %(message)s"
LARGEST = 1 << 17  # bytes of a message; the kernel takes more
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
_ERRORS: dict[str, type[CenoteError]] = {"Misconfigured": Misconfigured, "Unavailable": Unavailable}


def name_host(process: str, host: str) -> None:
    """Have the lines of this process's log name the host, one of several."""
    named = f"{process}@{host}".replace("%", "%%")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(LOG_FORMAT.format(process=named)))


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child does its work."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The child ends with this error."""

    kind: str
    message: str

    def error(self) -> CenoteError:
        return _ERRORS.get(self.kind, CenoteError)(self.message)


class Certificate(msgspec.Struct, frozen=True, tag=True):
    """The API's certificate and key, from the supervisor; it hides itself."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Certificate(…)"


class Used(msgspec.Struct, frozen=True, tag=True):
    """The last certificate that was handed over is in use, or why it is not."""

    problem: str = ""


Message = Ready | Failed | Certificate | Used


@dataclass(frozen=True, slots=True)
class Channel:
    """One end of the socketpair between the supervisor and a child."""

    socket: socket.socket

    def send(self, message: Message) -> bool:
        """Send a message; return whether the other end takes it."""
        try:
            self.socket.send(msgspec.msgpack.encode(message), socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def receive(self) -> Message | None:
        """Return the next message; None when the other end is closed.  BlockingIOError if there is none."""
        try:
            data = self.socket.recv(LARGEST)
        except ConnectionError:
            return None
        return msgspec.msgpack.decode(data, type=Message) if data else None

    def poll(self) -> Message | None:
        """Return the next message; None if there is none, or it is not one."""
        try:
            return self.receive()
        except (BlockingIOError, msgspec.MsgspecError):
            return None


Body = Callable[[Channel], None]


@dataclass
class Child:
    """A forked process, as the supervisor sees it."""

    name: str
    pid: int
    channel: Channel
    began: float
    status: int | None = None  # the exit code, or a negative signal, once it has ended
    failure: CenoteError | None = None

    def signal(self, number: signal.Signals) -> None:
        if self.status is None:
            os.kill(self.pid, number)  # it is ours and not reaped, so the pid is not reused

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        if self.status is not None and self.status < 0:
            return f"was ended by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"


def fork(name: str, body: Body, abandon: Callable[[], None], *, tied: bool = True) -> Child:
    """Fork a child that runs ``body`` and ends; ``abandon`` closes there what it must not have.

    A ``tied`` child is killed when this process dies.  ``body`` gives up rights by itself, and calls
    ``privileges.end_with`` again after that.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    # Blocked, so that no signal is taken by the supervisor's handlers in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _run(name, body, Channel(theirs), parent if tied else None, abandon)
    except OSError:
        ours.close()
        theirs.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    theirs.close()
    ours.setblocking(False)
    return Child(name, pid, Channel(ours), time.monotonic())


def _run(name: str, body: Body, channel: Channel, parent: int | None, abandon: Callable[[], None]) -> None:
    """Run the child; never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor decides
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if parent is not None:
            privileges.end_with(parent)
        privileges.name_process(f"cenote-{name}")
        abandon()
        for handler in logging.getLogger().handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT.format(process=name)))
        body(channel)
        status = 0
    except CenoteError as error:
        channel.send(Failed(type(error).__name__, error.message))
    except BaseException:
        log.exception("a defect in Cenote")
        channel.send(Failed("CenoteError", f"the process {name!r} failed; see the log"))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
