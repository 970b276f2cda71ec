"""Packages from the npm registry for tests, each in a folder of its own below ``build/``."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "build"


def node() -> str:
    """Return the path of Node.js; the test is skipped where there is none."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs Node.js: apt-get install nodejs npm")
    return found


def package(name: str, version: str) -> Path:
    """Return the folder of a package, in a ``node_modules`` with what it needs.

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
            done = subprocess.run(
                [npm, "install", *options, "--omit=optional", f"{name}@{version}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                words = done.stderr.strip().splitlines() or ["no reason given"]
                pytest.skip(f"{name} cannot be installed here: {words[-1]}")
            (folder / "complete").touch()
    return folder / "node_modules" / name
