"""The upgrade of a cluster with 300 MB to another major version: for how long it has no server.

Ours is what the event of the upgrade says, from the stop of the former server to the first answer of the
new one; beside it, the time from the request until statistics are there and the former data are gone.  The
floor is ``pg_upgrade`` by hand with the same way of copying: ``pg_ctl stop``, ``pg_upgrade``, ``pg_ctl
start``, with the new data directory made before.  Files are cloned where the file system of the temporary
folder can (XFS, Btrfs), as the rows say, and copied elsewhere.  ``RUNS`` is how often all is done.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.plain import as_server_user, give
from bench.row import Missing, Row
from cenote.host import file_cloning, programs
from tests.support import pgbench, two_versions, upgrading
from tests.support.folders import server_folder
from tests.support.ports import free_range
from tests.support.upgrading import Site
from tests.support.waiting import wait_until

RUNS = int(os.environ.get("RUNS", "3"))
SCALE = 20  # of pgbench: about 300 MB
_HELD = re.compile(r"with ([0-9.]+) s without a server")


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of one upgrade: without a server, and until all of it was over."""

    held: float
    over: float


def measure() -> list[Row]:
    older, newer = _binaries()
    with server_folder(on_disk=True) as folder:
        how = "clone" if file_cloning.works(folder) else "copy"
    ours, floor = [], []
    with upgrading.site(on_disk=True, clusters=RUNS + 1) as site:
        for number in range(RUNS):
            ours.append(_upgraded(site, f"bench-{number}"))
            floor.append(_by_hand(older, newer, how))
    held = [one.held for one in ours]
    return [
        Row(f"major upgrade of 300 MB by {how}, without a server / pg_upgrade by hand", "s", held, floor),
        Row(f"major upgrade of 300 MB by {how}, until all is over", "s", [one.over for one in ours]),
    ]


def _binaries() -> tuple[Path, Path]:
    """Return the folders of the programs of both versions."""
    if not (two_versions.UNPACKED / "bin" / "pg_upgrade").exists():
        raise Missing("a second major version of PostgreSQL; run scripts/unpack-postgresql.sh")
    older, newer, _ = two_versions.pair()
    found = programs.find(postgres_dirs=[two_versions.UNPACKED.resolve()]).postgres
    return found[older].bin, found[newer].bin


def _upgraded(site: Site, name: str) -> Measured:
    cluster = site.made(name)
    id, uri = cluster["id"], cluster["connection"]["uri"]
    pgbench.initialize(uri, scale=SCALE)
    began = time.perf_counter()
    site.upgrade(id)
    wait_until("it is upgraded", 600, lambda: site.ends(id))
    over = time.perf_counter() - began
    [end] = site.ends(id)
    held = _HELD.search(end)
    if held is None:
        raise RuntimeError(end)
    site.client.databases.destroy_cluster(id)
    return Measured(float(held[1]), over)


def _by_hand(older: Path, newer: Path, how: str) -> float:
    """Return the seconds without a server of an upgrade by hand."""
    with server_folder(on_disk=True) as folder:
        give(folder)
        port = free_range(2)
        options = f"-p {port} -k {folder} -c listen_addresses="

        def run(program: Path, *arguments: str) -> None:
            subprocess.run(
                [program, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
                **as_server_user(),
            )

        def control(binaries: Path, what: str) -> None:
            run(
                binaries / "pg_ctl",
                *("-s", "-w", "-l", "log", "-o", options, "-D", str(folder / binaries.parent.name), what),
            )

        for binaries in (older, newer):
            data = str(folder / binaries.parent.name)
            run(
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            )
        control(older, "start")
        uri = f"postgresql:///postgres?host={folder}&port={port}&user=postgres"
        pgbench.initialize(uri, scale=SCALE)
        try:
            began = time.perf_counter()
            control(older, "stop")
            run(
                newer / "pg_upgrade",
                *("--old-bindir", str(older), "--new-bindir", str(newer)),
                *("--old-datadir", str(folder / older.parent.name)),
                *("--new-datadir", str(folder / newer.parent.name)),
                *("--socketdir", str(folder), "--username", "postgres", f"--{how}"),
            )
            control(newer, "start")
            return time.perf_counter() - began
        finally:
            for binaries in (older, newer):
                if (folder / binaries.parent.name / "postmaster.pid").exists():
                    control(binaries, "stop")
