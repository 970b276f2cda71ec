"""What the tests have covered, for the summary of a run with ``--cov``: the total, and the largest gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REPORT = Path("build/coverage/report.json")  # as in the Makefile
WORST = 15


def lines() -> list[str]:
    """Return the total, and the modules with the most statements and branches that no test has reached."""
    report = json.loads(REPORT.read_text())
    files = sorted(report["files"].items(), key=lambda file: -_missing(file[1]["summary"]))
    total = report["totals"]
    return [
        f"{total['percent_covered']:.1f} % of {total['num_statements']} statements and "
        f"{total['num_branches']} branches are covered; most is missing of:",
        *(_line(name, file["summary"]) for name, file in files[:WORST]),
    ]


def _missing(summary: dict[str, Any]) -> int:
    return int(summary["missing_lines"] + summary["missing_branches"])


def _line(name: str, summary: dict[str, Any]) -> str:
    path = name.partition("/src/")[2] or name
    return (
        f"{summary['percent_covered']:5.1f} %  {path}: "
        f"{summary['missing_lines']} statements, {summary['missing_branches']} branches"
    )
