"""The service against a former version of it, each with ten clusters of its own, in one run.

``python -m bench --against SOURCES`` takes a source tree, or the revision of an archive in ``tests/data``.
Samples of both alternate, on the same packages.  Both are run by a copy of our interpreter and packages:
memory that a process shares with this one, which uses the same libraries, would count as half.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import creating, load, memory, starting
from bench.creating import timed
from bench.load import Wrk
from bench.row import Row, number
from cenote_client import Client
from tests.support import old_version
from tests.support.service import Service, added_pool, answer_of, online, online_cluster, service
from tests.support.service_processes import members

ROOT = Path(__file__).parents[1]
CLUSTERS = 10
STARTS, MEMORY, LOADS, POOLS, CREATED = 11, 5, 12, 25, 9  # samples
LIMITS = ("--requests-per-hour=1000000000", "--requests-per-minute=1000000000", "--log-level=warning")
Sample = Callable[["Side"], float]


def measure(former: str) -> list[Row]:
    """Measure both; the floor of each row is the former version."""
    load.program()
    tree = Path(former) if Path(former).is_dir() else old_version.sources(former)
    with tempfile.TemporaryDirectory(prefix="cenote-bench-") as folder, contextlib.ExitStack() as stack:
        python = _copied_environment(Path(folder))
        now, before = (
            stack.enter_context(_side(old_version.command_of(sources, python))) for sources in (ROOT, tree)
        )
        # Memory comes first, since etcd's grows with what follows.
        return [
            *_memory(now, before),
            _row(f"from start to first answer, {CLUSTERS} clusters", "ms", _start, now, before, STARTS),
            _row(
                "GET pool, 16 connections", "/s", lambda side: side.wrk.run(side.url).rate, now, before, LOADS
            ),
            _row(
                "GET pool, its 99th percentile",
                "ms",
                lambda side: side.wrk.run(side.url).p99,
                now,
                before,
                LOADS,
            ),
            _row("POST pool → 201 → first query through it", "ms", _add_pool, now, before, POOLS),
            _row("POST cluster → online → its pool answers", "ms", _create, now, before, CREATED),
        ]


def table(rows: list[Row]) -> str:
    """Format the rows as medians, with the median difference of pairs, and that in percent."""
    lines = [("what", "before", "now", "difference", "%", "unit")]
    for row in rows:
        assert row.difference is not None
        assert row.ratio is not None
        medians = (number(statistics.median(row.floor)), number(statistics.median(row.ours)))
        percent = f"{(row.ratio - 1) * 100:+.1f}"
        lines.append((row.name, *medians, f"{row.difference:+.3g}", percent, row.unit))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


@dataclass
class Side:
    """A version of the service, with its clusters; each has a pool ``pool``."""

    running: Service
    client: Client
    clusters: list[Any]
    url: str
    wrk: Wrk
    made: int = 0

    @property
    def ids(self) -> list[str]:
        return [cluster["id"] for cluster in self.clusters]

    def start(self) -> None:
        self.running.start()
        self.settle()

    def settle(self) -> None:
        for id in self.ids:
            online(self.client, id)


@contextlib.contextmanager
def _side(command: tuple[str, ...]) -> Iterator[Side]:
    with service(*LIMITS, command=command, on_disk=True) as running, running.client() as client:
        clusters = [online_cluster(client, f"cluster-{n}") for n in range(CLUSTERS)]
        for cluster in clusters:
            added_pool(client, cluster["id"], "pool")
        exported = running.environment()
        paths = [f"/v2/databases/{cluster['id']}/pools/pool" for cluster in clusters]
        wrk = Wrk(running.data_dir, paths, exported["DIGITALOCEAN_TOKEN"])
        yield Side(running, client, clusters, exported["DIGITALOCEAN_API_URL"], wrk)


def _row(name: str, unit: str, sample: Sample, now: Side, before: Side, samples: int) -> Row:
    """Take alternating samples; the one that is first changes, and the first pair does not count."""
    ours: list[float] = []
    floor: list[float] = []
    turns = [(now, ours), (before, floor)]
    for _ in range(samples + 1):
        for side, values in turns:
            values.append(sample(side))
        turns.reverse()
    return Row(name, unit, ours[1:], floor[1:])


def _memory(now: Side, before: Side) -> list[Row]:
    """Measure each while the other one is stopped, since they share the libraries, too."""
    services: dict[int, list[float]] = {id(now): [], id(before): []}
    etcds: dict[int, list[float]] = {id(now): [], id(before): []}
    for side in (now, before):
        side.running.end()
    for _ in range(MEMORY):
        for side in (now, before):
            side.start()
            memory.call(side.client, side.ids)
            services[id(side)].append(memory.service_mebibytes(side.running))
            etcds[id(side)].append(memory.mebibytes([members(side.running)["etcd"]]))
            side.running.end()
    for side in (now, before):
        side.start()
    name = f"memory of the service with {CLUSTERS} clusters"
    return [
        Row(name, "MiB", services[id(now)], services[id(before)]),
        Row("memory of its etcd", "MiB", etcds[id(now)], etcds[id(before)]),
    ]


def _start(side: Side) -> float:
    side.running.end()
    milliseconds = starting.first_answer(side.running, side.ids[0])
    side.settle()
    return milliseconds


def _add_pool(side: Side) -> float:
    side.made += 1
    cluster, name = side.ids[0], f"pool-{side.made}"
    taken: list[float] = []
    with timed(taken):
        answer_of(added_pool(side.client, cluster, name, size=1)["connection"]["uri"])
    side.client.request("DELETE", f"/v2/databases/{cluster}/pools/{name}")
    return taken[0]


def _create(side: Side) -> float:
    side.made += 1
    creating.wait_for_spare(side.running)
    taken: list[float] = []
    with timed(taken):
        id = creating.create(side.client, f"made-{side.made}")
    side.client.request("DELETE", f"/v2/databases/{id}")
    creating.wait_until_gone(side.running, id)
    return taken[0]


def _copied_environment(folder: Path) -> Path:
    """Return an interpreter with our packages, none of whose programs and libraries is a file that we use."""
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", folder / "venv"], check=True)
    (ours,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (copy,) = (folder / "venv").glob("lib/python*/site-packages")
    shutil.copytree(ours, copy, symlinks=True, dirs_exist_ok=True, copy_function=_copy)
    return folder / "venv" / "bin" / "python"


def _copy(source: str, target: str) -> None:
    """Copy a library, and link whatever is no program: that is read, not mapped."""
    if ".so" not in Path(source).name:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
