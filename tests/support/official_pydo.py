"""The official pydo from PyPI, in an environment of its own, since ours has our drop-in of the same name.

The environment is made once for a clone, below ``build/``, and made anew when its pins change.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import clean_environment

BUILD = Path(__file__).parents[2] / "build"
PINS = Path(__file__).with_name("official-pydo.txt")
RUN_SECONDS = 300


def official_python() -> Path:
    """Return the interpreter that imports the official pydo; the test is skipped where none can be had."""
    folder = BUILD / "official-pydo"
    python = folder / "bin" / "python"
    stamp = folder / "pins.sha256"
    wanted = hashlib.sha256(PINS.read_bytes() + sys.version.encode() + str(folder).encode()).hexdigest()
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "official-pydo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted or not python.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _command(sys.executable, "-m", "venv", str(folder))
            _command(str(python), "-m", "pip", "install", "--no-input", "--no-deps", "-r", str(PINS))
            stamp.write_text(wanted)
    return python


def run_official(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script by the official environment's Python and return how it went.

    It sees the standard library, pydo and the pinned packages; of our environment it gets nothing that would
    point it at another service.
    """
    return subprocess.run(
        [str(official_python()), "-I", "-", *arguments],
        input=script,
        capture_output=True,
        text=True,
        env=clean_environment() | environment,
        check=False,
        timeout=RUN_SECONDS,
    )


def official_answer(script: str, *arguments: str, **environment: str) -> Any:
    """Return what the script prints, which is JSON; fail with its last words when it ends with an error."""
    done = run_official(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def _command(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        pytest.skip(f"the official pydo cannot be installed here: {words}")
