"""Programs of tests in Go: the toolchain from PyPI, and the sources of libraries from Debian's packages."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import BUILD, python_of

PINS = Path(__file__).with_name("golang.txt")
SOURCES = BUILD / "programs" / "usr" / "share" / "gocode"  # laid out as a GOPATH


def go_program(name: str, source: Path, *, needs: str) -> Path:
    """Return a program made of the files in a folder; it is made once for a clone, and anew when they change.

    ``needs``: the library that it is about.  The test is skipped where that or the toolchain cannot be had.
    """
    if not (SOURCES / "src" / needs).is_dir():
        pytest.skip(f"needs the Go sources of {needs}: make setup-tests, where there is an apt-get")
    go = python_of("golang", PINS).with_name("go")
    program, stamp = BUILD / name, BUILD / f"{name}.sha256"
    files = sorted(source.glob("*.go"))
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in [*files, PINS])).hexdigest()
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() or not stamp.exists() or stamp.read_text() != wanted:
            # Without optimizing, which takes as long as all the rest.
            argv = [
                str(go),
                "build",
                "-gcflags=all=-N -l",
                "-ldflags=-s -w",
                "-o",
                str(program),
                *map(str, files),
            ]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, env=_environment())
            assert done.returncode == 0, done.stderr[-4000:]
            stamp.write_text(wanted)
    return program


def _environment() -> dict[str, str]:
    """Nothing is fetched, and nothing is kept but in ``build``."""
    return os.environ | {
        "GO111MODULE": "off",
        "GOPATH": str(SOURCES),
        "GOCACHE": str(BUILD / "go-cache"),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOTELEMETRY": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
