"""Queries and logins through a pool, by pgbench, against a PgBouncer configured by hand.

For queries it connects to the same server in the same way, over its unix socket.  For logins it has the usual
setup: plain-text passwords in ``auth_file``, with which PgBouncer logs in to the server.  All have the same
certificate, and every client uses TLS and SCRAM.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.plain import binaries, plain_pooler
from bench.row import Row, ratio_at_least
from cenote.model.paths import ClusterPaths, Layout
from tests.support.service import added_pool, online_cluster, service

RUNS = 25  # many short runs, so that other load on the machine affects both of a pair
SECONDS = 1
SCALE = 5  # times 100,000 rows
POOL = 10  # connections to the server
QUERYING = ("-S", "-c", "8", "-j", "1")
# One client at a time: most of a login's work is the client's, and with more clients than cores the clients
# would wait for each other instead of the pooler.
LOGGING_IN = ("-S", "-C", "-c", "1", "-j", "1")


@dataclass(frozen=True, slots=True)
class Side:
    """A measured pooler: the rate of each run, and its CPU milliseconds per transaction."""

    connection: Any
    pid: int
    rates: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def run(self, options: Sequence[str]) -> None:
        before = self._spent()
        told = _pgbench(self.connection, "-n", "-T", str(SECONDS), *options)
        self.rates.append(_found(r"^tps = ([\d.]+)", told))
        self.work.append((self._spent() - before) / _found(r"actually processed: (\d+)", told))

    def _spent(self) -> float:
        """Return the CPU milliseconds of the pooler (schedstat of proc(5))."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e6


def measure() -> list[Row]:
    options = ("--requests-per-hour=0", "--requests-per-minute=0")
    with service(*options, on_disk=True) as running, running.client() as client:
        cluster = online_cluster(client, "bench")
        direct = cluster["connection"]
        _pgbench(direct, "-i", "-q", "-s", str(SCALE))
        pool = added_pool(client, cluster["id"], "bench", size=POOL)["connection"]
        paths = Layout(running.data_dir).cluster(UUID(cluster["id"]))
        return [_queries(paths, direct, pool), *_logins(paths, direct, pool)]


def _queries(paths: ClusterPaths, direct: Any, pool: Any) -> Row:
    reached = f"host={paths.sockets} port={direct['port']} user={direct['user']}"
    verifiers = (paths.pooler / "userlist.txt").read_text()
    ours, floor = _by_turns(paths, direct, pool, reached, verifiers, QUERYING)
    name = "pgbench -S through a pool / PgBouncer by hand"
    return Row(name, "/s", ours.rates, floor.rates, (ratio_at_least(0.97),))


def _logins(paths: ClusterPaths, direct: Any, pool: Any) -> list[Row]:
    reached = f"host=127.0.0.1 port={direct['port']}"
    plain = f'"{direct["user"]}" "{direct["password"]}"\n'
    ours, floor = _by_turns(paths, direct, pool, reached, plain, LOGGING_IN)
    return [
        Row("logins through a pool / plain passwords", "/s", ours.rates, floor.rates, (ratio_at_least(1.8),)),
        Row("the pooler's own work for a login / the same", "ms", ours.work, floor.work),
    ]


def _by_turns(
    paths: ClusterPaths, direct: Any, pool: Any, reached: str, auth_file: str, options: Sequence[str]
) -> tuple[Side, Side]:
    """Alternate pgbench through our pool and a plain one that connects to the server by ``reached``."""
    target = f"{reached} dbname={direct['database']} pool_mode=transaction pool_size={POOL}"
    with plain_pooler(paths.certificate, target, auth_file, direct) as (connection, pid):
        ours = Side(pool, int((paths.pooler / "pgbouncer.pid").read_text()))
        floor = Side(connection, pid)
        turns = [ours, floor]
        for _ in range(RUNS):
            for side in turns:
                side.run(options)
            turns.reverse()  # so that neither is always first
    return ours, floor


def _pgbench(connection: Any, *options: str) -> str:
    """Run pgbench; the password is in its environment, since all users can read its arguments."""
    told = {
        "PGHOST": connection["host"],
        "PGPORT": str(connection["port"]),
        "PGUSER": connection["user"],
        "PGPASSWORD": connection["password"],
        "PGDATABASE": connection["database"],
        "PGSSLMODE": "require",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [binaries() / "pgbench", *options], env=os.environ | told, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _found(pattern: str, told: str) -> float:
    found = re.search(pattern, told, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench says something unknown:\n{told}")
    return float(found[1])
