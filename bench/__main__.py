"""``python -m bench [NAME …]``: runs the parts, prints the table, writes ``build/bench.json``.

A part is a module of this package with ``measure() -> list[Row]``, plain or async.  ``python -m bench
--against SOURCES`` compares the service with a former version instead: ``build/bench-against.json``.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from bench import against, row
from bench.row import Missing, Row

PARTS = (
    "creating",
    "getting",
    "busy",
    "starting",
    "querying",
    "memory",
    "nodes",
    "client",
    "console",
    "fleet",
)
BY_NAME_ONLY = ("many", "backups", "restoring", "major_upgrades")
RESULT, COMPARED = Path("build/bench.json"), Path("build/bench-against.json")


def main(wanted: Sequence[str]) -> int:
    """Run these parts, or all; return 1 if any of them failed."""
    if wanted[:1] == ["--against"] and len(wanted) == 2:
        return _compare(wanted[1])
    unknown = [name for name in wanted if name not in (*PARTS, *BY_NAME_ONLY)]
    if unknown:
        print(
            f"no such part: {', '.join(unknown)}; there are {', '.join((*PARTS, *BY_NAME_ONLY))}",
            file=sys.stderr,
        )
        return 2
    rows: list[Row] = []
    unmeasured: list[str] = []
    broken = False
    for name in wanted or PARTS:
        began = time.monotonic()
        print(f"{name}: measuring …", file=sys.stderr, flush=True)
        try:
            rows += _measured(name)
        except Missing as missing:
            unmeasured.append(f"{name}: NOT MEASURED, {missing}")
        except Exception:
            traceback.print_exc()
            unmeasured.append(f"{name}: NOT MEASURED, it broke; see above")
            broken = True
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    row.write(rows, RESULT)
    print(row.table(rows))
    for line in unmeasured:
        print(line)
    print(f"{_load()}; written to {RESULT}")
    return 1 if broken else 0


def _compare(former: str) -> int:
    """Measure this version against a former one, print the table and write the file."""
    rows = against.measure(former)
    row.write(rows, COMPARED)
    print(against.table(rows))
    print(f"{_load()}; written to {COMPARED}")
    return 0


def _load() -> str:
    return f"{os.cpu_count()} processors, load {os.getloadavg()[2]:.1f} in the last 15 minutes"


def _measured(name: str) -> list[Row]:
    answer = importlib.import_module(f"bench.{name}").measure()
    rows: list[Row] = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
