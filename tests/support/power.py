"""A power cut, simulated: everything ends at once, and files of ours lose what was not on disk."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from cenote.host import processes
from tests.support.service import Service
from tests.support.waiting import wait_until

# PostgreSQL, etcd and initdb write these, and have them on disk before they rely on them.
_OTHERS = ("templates", "etcd/data", "etcd-before-2", "programs")
_OURS_IN_DATA = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postmaster.pid", "postmaster.opts")
KEYS = ("api/sealing.key", "ca.key", "keys/etcd-root")  # what nothing can make again
LASTING = (*KEYS, "api/host.key")  # and the copy of keys/host.key
_LOG = "serve.log"  # the tests' own


class Machine:
    """The machine of a service whose power goes off and comes back."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self.data_dir = running.data_dir

    def off(self) -> None:
        """Kill the service and every server at once."""
        with contextlib.suppress(ProcessLookupError, AssertionError):
            self._running.end(signal.SIGKILL)

        def is_quiet() -> bool:
            found = processes.below(self.data_dir)
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            return not found

        wait_until("nothing runs", 60, is_quiet)

    def on(self) -> None:
        """Start the service; the administrator's token may be another one."""
        self._running.forget_environment()
        self._running.start()

    def refused(self) -> int:
        """Start the service, which is expected to end by itself; return its exit code."""
        self._running.launch()
        return self._running.wait()

    def log(self) -> str:
        return self._running.log()

    def name(self, path: Path) -> str:
        return str(path.relative_to(self.data_dir))

    def files(self) -> list[Path]:
        """Return the files that we write, and the pid and lock files of servers."""
        return [
            path
            for path in sorted(self.data_dir.rglob("*"))
            if path.is_file() and not path.is_symlink() and self._is_ours(path)
        ]

    def empty(self, path: Path) -> bool:
        """Take the content of a file; return whether it had any."""
        return self._cut(path, 0)

    def halve(self, path: Path) -> bool:
        """Take the second half of a file; return whether it had one."""
        return self._cut(path, path.stat().st_size // 2)

    def _cut(self, path: Path, size: int) -> bool:
        before = path.stat().st_size
        os.truncate(path, size)
        return size < before

    def _is_ours(self, path: Path) -> bool:
        name = self.name(path)
        if name == _LOG or any(name.startswith(f"{other}/") for other in _OTHERS):
            return False
        parts = path.relative_to(self.data_dir).parts
        in_data = (
            len(parts) > 3
            and parts[0] == "clusters"
            and parts[2].startswith("pg")
            and parts[2] != "pgbouncer"
        )
        return not in_data or (len(parts) == 4 and parts[3] in _OURS_IN_DATA)
