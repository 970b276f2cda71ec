"""Environments of their own for packages that tests run and that are not for ours, below ``build/``.

Each is made once for a clone, and made anew when its pins change.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "build"


def python_of(name: str, pins: Path) -> Path:
    """Return the interpreter of the environment ``name``, which has the packages in ``pins`` and no others.

    The test is skipped where they cannot be had.
    """
    folder = BUILD / name
    python = folder / "bin" / "python"
    stamp = folder / "pins.sha256"
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode() + str(folder).encode()).hexdigest()
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted or not python.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _command(name, sys.executable, "-m", "venv", "--without-pip", str(folder))
            # Only what is imported is compiled, by its first import.
            options = ("--no-input", "--no-deps", "--no-compile", "--requirement", str(pins))
            _command(name, sys.executable, "-m", "pip", f"--python={python}", "install", *options)
            stamp.write_text(wanted)
    return python


def _command(name: str, *argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        pytest.skip(f"{name} cannot be installed here: {words}")
