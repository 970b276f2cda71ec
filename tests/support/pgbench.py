"""``pgbench -N`` through a pool, for as long as something goes on, and what it has seen."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cenote.host import programs

BEFORE = 1.0  # seconds, until it has connected


@dataclass
class Bench:
    """The transactions that were done, and the seconds of the longest; ``failed`` says what went wrong."""

    done: int = 0
    held: float = 0.0
    failed: str = ""

    def count(self, folder: Path) -> None:
        for path in folder.glob("log*"):
            for line in path.read_text().splitlines():
                self.done += 1
                self.held = max(self.held, int(line.split()[2]) / 1e6)


def program() -> str:
    found = programs.find().postgres
    return str(found[max(found, key=int)].bin / "pgbench")


def initialize(uri: str, scale: int = 1) -> None:
    """Make pgbench's tables; on the direct port."""
    subprocess.run([program(), "-i", "-q", "-s", str(scale), uri], check=True, capture_output=True)


@contextlib.contextmanager
def bench(uri: str, *, clients: int = 4, rate: int = 0) -> Iterator[Bench]:
    """Keep a pool busy for as long as the block runs.

    ``rate``: transactions in a second, 0 for as many as possible.  With it, each is measured from when it
    was due.
    """
    seen = Bench()
    with tempfile.TemporaryDirectory() as folder:
        options = ["-N", "-n", "-c", str(clients), "-T", "3600", "-l", f"--log-prefix={folder}/log"]
        options += ["-R", str(rate)] if rate else []
        process = subprocess.Popen(
            [program(), *options, uri],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            time.sleep(BEFORE)
            yield seen
        finally:
            process.send_signal(signal.SIGALRM)  # as if its time were over
            output, _ = process.communicate()
            seen.failed = "" if process.returncode == 0 else output[-2000:]
            seen.count(Path(folder))
