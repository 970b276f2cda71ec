"""Which tests may be skipped in CI: those of ``tests/allowed-skips.txt``; any other skip fails there.

Elsewhere a test may be skipped for a program that is missing.  In CI that would hide that nothing tests it.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parents[1] / "allowed-skips.txt"


def are_checked() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")


def check(report: pytest.TestReport) -> None:
    """Turn a skip that is not on the list into a failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = _reason(report)
    file = report.nodeid.partition("::")[0]
    if not any(file == where and fnmatchcase(reason, words) for where, words in allowed()):
        report.outcome = "failed"
        report.longrepr = f"this skip is not in tests/{ALLOWED.name}: {reason}"


def allowed() -> list[tuple[str, str]]:
    """Return the files and, for each, a pattern of the reason."""
    lines = (line.strip() for line in ALLOWED.read_text().splitlines())
    pairs = (line.split(": ", 1) for line in lines if line and not line.startswith("#"))
    return [(file, words) for file, words in pairs]


def _reason(report: pytest.TestReport) -> str:
    _, _, words = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    return words.removeprefix("Skipped: ")
