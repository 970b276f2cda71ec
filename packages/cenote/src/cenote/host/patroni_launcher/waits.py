"""The waits of Patroni's that clients would wait for, too."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

STOP_POLLING = 0.02  # seconds between two looks whether PostgreSQL has stopped
PAUSE_POLLING = 0.02  # seconds between two looks whether a pause of Patroni's is needed any longer
MEMBER_SECONDS = 1.0  # in which another node says how far it is; one that is cut off would be waited for


def ask_members_shortly() -> None:
    """Wait less long for another node's answer about its state; clients wait while a leader is chosen."""
    from patroni.request import PatroniRequest

    ask = PatroniRequest.__call__

    def ask_shortly(self: Any, member: Any, method: str = "GET", *further: Any, **options: Any) -> Any:
        if method == "GET" and "timeout" in options:
            options["timeout"] = min(options["timeout"], MEMBER_SECONDS)
        return ask(self, member, method, *further, **options)

    PatroniRequest.__call__ = ask_shortly


def pause_no_longer_than_needed() -> None:
    """End the pauses that Patroni makes in a switchover as soon as what they are for has happened.

    Before the leader key is released, standbys are given a second to receive the last of the WAL: that has
    happened when no WAL sender is left, since each waits until its standby has it.  After that, two seconds
    are left for another node to take the key, on the node that gave it up and on those that are not meant.
    Clients of the cluster wait meanwhile, or commits for these standbys.

    Nor is a checkpoint made before a server is stopped for a switchover: there was one right before clients
    began to wait, and there is another as the server ends.  The server is not waited for any longer once the
    key is released: all that it does then is to archive, three times for seconds where that fails.
    """
    import patroni.ha
    from patroni.ha import Ha
    from patroni.postgresql import Postgresql

    needed = threading.local()
    demote, lose, stop = Ha.demote, Ha.process_unhealthy_cluster, Postgresql.stop

    def demote_soon(self: Any, mode: str) -> Any:
        needed.until = {2: lambda: _is_led(self)}
        try:
            return demote(self, mode)
        finally:
            needed.until = {}

    def lose_soon(self: Any) -> Any:
        needed.until = {2: lambda: _is_led(self)}
        try:
            return lose(self)
        finally:
            needed.until = {}

    def stop_soon(self: Any, *arguments: Any, **options: Any) -> Any:
        server = self.is_running()
        if server and getattr(needed, "until", None):
            needed.until[1] = lambda: not _has_senders(server.pid)
            options["checkpoint"] = False
            if options.get("on_shutdown"):
                options["on_shutdown"] = _and_then_end(self, server, options["on_shutdown"])
        return stop(self, *arguments, **options)

    class Clock:
        """Stands for the module ``time`` in Patroni's own."""

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            is_over = getattr(needed, "until", {}).get(seconds)
            _sleep(seconds, is_over or (lambda: False))

    Ha.demote, Ha.process_unhealthy_cluster, Postgresql.stop = demote_soon, lose_soon, stop_soon
    patroni.ha.time = Clock()


def _sleep(seconds: float, is_over: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not is_over() and (left := end - time.monotonic()) > 0:
        time.sleep(min(PAUSE_POLLING, left))


def _is_led(ha: Any) -> bool:
    """Return whether another node has the leader key."""
    from patroni.exceptions import DCSError

    try:
        leader = ha.dcs.get_cluster().leader
    except DCSError:
        return False
    return leader is not None and bool(leader.name) and leader.name != ha.state_handler.name


def _and_then_end(postgresql: Any, server: Any, on_shutdown: Callable[..., None]) -> Callable[..., None]:
    """Have a server that has shut down, as its control file says, end once the leader key is released.

    What it has not archived by then it archives as a standby, and so does the new primary.
    """

    def released(*places: Any) -> None:
        import psutil

        on_shutdown(*places)
        if postgresql.role == "demoted":
            with contextlib.suppress(psutil.Error):  # it has ended
                server.send_signal(signal.SIGQUIT)

    return released


def _has_senders(server: int) -> bool:
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{server}/task"):
            for child in _read(f"/proc/{server}/task/{task}/children").split():
                title = _read(f"/proc/{child.decode()}/cmdline")
                if b"walsender " in title or b"wal sender " in title:
                    return True
    return False


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
