"""The type checker pyright from the npm registry, in a folder of its own."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "1.1.414"
BUILD = Path(__file__).parents[2] / "build"


def pyright() -> list[str]:
    """Return the command that runs it; the test is skipped where there is no Node.js or no registry."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("pyright needs Node.js: apt-get install nodejs npm")
    folder = BUILD / f"pyright-{VERSION}"
    program = folder / "node_modules" / "pyright" / "index.js"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "pyright.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            options = ["--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(
                [npm, "install", *options, "--omit=optional", f"pyright@{VERSION}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                words = done.stderr.strip().splitlines() or ["no reason given"]
                pytest.skip(f"pyright cannot be installed here: {words[-1]}")
            (folder / "complete").touch()
    return [node, str(program)]
