"""Prometheus and promtool, as `make setup-tests` unpacks them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"


def program(name: str) -> str:
    """Return the path of a program; the test is skipped where it is not there."""
    unpacked = ROOT / "build" / "programs" / "usr" / "bin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: make setup-tests")
    return found


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool, with ``text`` on its standard input."""
    return subprocess.run(
        [program("promtool"), *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
