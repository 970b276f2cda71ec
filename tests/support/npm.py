"""Packages from the npm registry for tests, each in a folder of its own below ``build/``."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import clean_environment

RUN_SECONDS = 300
BUILD = Path(__file__).parents[2] / "build"


def node() -> str:
    """Return the path of Node.js; the test is skipped where there is none."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs Node.js: apt-get install nodejs npm")
    return found


def package(
    name: str,
    version: str,
    *,
    with_: tuple[str, ...] = (),
    binaries: bool = False,
    scripts: Callable[[Path], None] | None = None,
) -> Path:
    """Return the folder of a package, in a ``node_modules`` with what it needs.

    ``with_``: what it needs, as ``name@version``, where that has to be another version than the newest.
    ``binaries``: also its optional packages, such as programs for one kind of processor each.
    ``scripts`` does once what the package's own scripts would do, which are not run.
    The test is skipped where there is no npm or no registry.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{name} needs npm: apt-get install nodejs npm")
    called = f"{name.replace('/', '-').lstrip('@')}-{version}"
    folder = BUILD / called
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{called}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            options = ["--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
            options += [] if binaries else ["--omit=optional"]
            done = subprocess.run(
                [npm, "install", *options, f"{name}@{version}", *with_],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                words = done.stderr.strip().splitlines() or ["no reason given"]
                pytest.skip(f"{name} cannot be installed here: {words[-1]}")
            if scripts is not None:
                scripts(folder / "node_modules" / name)
            (folder / "complete").touch()
    return folder / "node_modules" / name


def answer_of_script(script: Path, *arguments: str, **environment: str) -> Any:
    """Return what a script prints, which is JSON; fail with its last words when it ends with an error."""
    done = subprocess.run(
        [node(), str(script), *arguments],
        capture_output=True,
        text=True,
        env=clean_environment() | environment,
        check=False,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)
