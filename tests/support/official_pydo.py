"""The official pydo from PyPI, in an environment of its own, since ours has our drop-in of the same name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.environments import python_of
from tests.support.service import clean_environment

PINS = Path(__file__).with_name("official-pydo.txt")
RUN_SECONDS = 300


def official_python() -> Path:
    """Return the interpreter that imports the official pydo; the test is skipped where none can be had."""
    return python_of("official-pydo", PINS)


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
