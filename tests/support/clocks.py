"""A clock that can be set for one service, while it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest


class Clock:
    """``environment`` is what a program is to be started with; ``set`` changes its clock at once."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("setting a clock takes a C compiler")
        library, self._file = folder / "shifted_clock.so", folder / "shift"
        source = Path(__file__).with_name("shifted_clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
        library.chmod(0o755)
        self._file.write_bytes(bytes(8))
        self._file.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self._file)}

    def set(self, ahead: timedelta) -> None:
        """Set it ahead of the true one; of no length to put it right."""
        with self._file.open("r+b") as file:
            os.pwrite(file.fileno(), int(ahead.total_seconds()).to_bytes(8, "little", signed=True), 0)
