"""Starting PostgreSQL without another interpreter.

Patroni has a new interpreter start it, which imports most of Patroni first: that takes a second of a busy
processor, while clients wait for the node that has taken over beside it.  A shell does the same: PostgreSQL
is in a session of its own, and nobody's child once the shell has ended.
"""

import multiprocessing
import subprocess
from types import SimpleNamespace
from typing import Any

# The pid goes to the shell's output, and what PostgreSQL prints to where Patroni's errors go.
_SCRIPT = 'exec 3>&1 >&2; "$@" 3>&- & echo $! >&3'


def start_by_shell() -> None:
    import patroni.postgresql.postmaster as postmaster

    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Starter)
    postmaster.multiprocessing = SimpleNamespace(get_context=lambda _method: context)


class Starter:
    """Stands for the process by which Patroni starts PostgreSQL; it sends the pid of that."""

    def __init__(self, target: Any, args: tuple[Any, list[str], dict[str, str]]) -> None:
        self._connection, self._command, self._environment = args

    def start(self) -> None:
        self._connection.send(started(self._command, self._environment))
        self._connection.close()

    def join(self) -> None:
        pass


def started(command: list[str], environment: dict[str, str]) -> int | None:
    """Start a program and return its pid, None if that fails."""
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", _SCRIPT, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            check=True,
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
