"""A server program in a folder of its own, which says in its log when it listens."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

START_SECONDS = 60


@dataclass
class ListeningServer:
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def launch(
        self, command: Sequence[str | Path], environment: Mapping[str, str], *, says: str, **options: Any
    ) -> None:
        """Start a program, and wait until its log has what it says when it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, **options
            )
        wait_until(f"{type(self).__name__} listens", START_SECONDS, lambda: says in self.log.read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None
        self.log.write_text("")
