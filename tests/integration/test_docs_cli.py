"""The transcripts in docs/cli.md, typed into a real service in their order.

An ellipsis stands for whatever differs from one run to the next; alone on a line, for any lines, also none.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.support.service import CENOTE, Service, clean_environment, service

PROGRESS = re.compile(r"^\d+ of \d+ records re-sealed\n", re.MULTILINE)  # of what takes more than a moment
PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_each_command_of_the_page_prints_what_the_page_says() -> None:
    steps = _steps(PAGE.read_text())
    assert len(steps) > 20
    with service() as running:
        for command, expected in steps:
            seen = re.sub(PROGRESS, "", _typed(running, command))
            assert re.fullmatch(_pattern(expected), seen, re.DOTALL), f"$ {command}\n{seen}"


def _steps(page: str) -> list[tuple[str, str]]:
    """Return the commands of the page, each with what it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found = []
    for step in re.split(r"^\$ ", "".join(blocks), flags=re.MULTILINE)[1:]:
        command, _, printed = step.partition("\n")
        found.append((command, printed))
    return found


def _pattern(expected: str) -> str:
    lines = re.sub(r"^…\n", "\0", expected, flags=re.MULTILINE)
    pattern = re.escape(lines).replace(re.escape("\0"), r"(?:.*?\n)??")
    return pattern.replace("…", ".*?")


def _typed(running: Service, command: str) -> str:
    """Run a line as a shell without a terminal would, and return all that it prints."""
    program, *arguments = shlex.split(command)
    assert program == "cenote"
    folder = running.data_dir.parent
    done = subprocess.run(
        [CENOTE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=clean_environment()
        | {"CENOTE_DATA_DIR": str(running.data_dir), "XDG_CACHE_HOME": str(folder / "cache")},
        check=False,
        timeout=120,
    )
    return done.stdout + (f"[exit code {done.returncode}]\n" if done.returncode else "")


def test_psql_is_given_the_password_where_nobody_else_sees_it() -> None:
    with service() as running:
        _typed(running, "cenote cluster create backend")
        ask = "SELECT 1"
        shown = _typed(
            running, f"cenote psql backend -- -c '{ask}' -c '\\! tr \"\\\\0\" \" \" < /proc/$PPID/cmdline'"
        )
        password = _typed(running, "cenote user get backend doadmin -o value --field password").strip()
        assert "psql -c SELECT 1" in shown
        assert password not in shown
        kept = list((running.data_dir.parent / "cache" / "cenote").iterdir())
        assert [path.suffix for path in kept] == [".crt"]
        assert os.stat(kept[0].parent).st_mode & 0o077 == 0
