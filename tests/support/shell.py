"""Transcripts of a page, typed into a shell in their order.

A line that begins with ``$`` is a command, and goes on where it ends with a backslash; what follows is what
it prints, where an ellipsis stands for whatever differs from one run to the next.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.service import CENOTE, Service, clean_environment

_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?", re.MULTILINE)
SECONDS = 300


def steps(text: str) -> list[tuple[str, str]]:
    """Return the commands of a transcript, each with what it prints."""
    found = list(_COMMAND.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [(match[1], text[match.end() : end]) for match, end in zip(found, ends, strict=True)]


def type_in(text: str, folder: Path, **environment: str) -> None:
    """Type a transcript into a shell in ``folder``; fail at the first command that prints something else."""
    wanted = steps(text)
    assert wanted, f"there is no command in: {text}"
    if any(command.startswith("curl ") for command, _ in wanted) and shutil.which("curl") is None:
        pytest.skip("needs curl, which make setup-tests installs")
    lines = []
    for command, _ in wanted:
        lines += [command, 'code=$?; [ $code = 0 ] || echo "[exit code $code]"', r"printf '\036'"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=clean_environment() | {"PATH": f"{Path(CENOTE).parent}:{os.environ['PATH']}"} | environment,
        check=False,
        timeout=SECONDS,
    )
    seen = done.stdout.split("\036")
    for (command, expected), printed in zip(wanted, seen, strict=False):
        pattern = ".*?".join(map(re.escape, expected.rstrip("\n").split("…")))
        assert re.fullmatch(pattern, printed.rstrip("\n"), re.DOTALL), f"$ {command}\n{printed}"
    assert len(seen) == len(wanted) + 1, f"the shell ended early: {done.stdout}"


def at(running: Service) -> dict[str, str]:
    """Return the variables that have ``cenote`` ask this service."""
    return {
        "CENOTE_DATA_DIR": str(running.data_dir),
        "XDG_CACHE_HOME": str(running.data_dir.parent / "cache"),
    }
