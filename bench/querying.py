"""Queries and logins through a pool, by pgbench, beside a PgBouncer that was set up by hand.

The one for queries reaches the same server in the same way, over its unix socket.  The one for logins is set
up as most are: plain passwords in ``auth_file``, and with them PgBouncer logs in to the server.  All show the
same certificate, and every client speaks TLS and proves its password by SCRAM.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any
from uuid import UUID

from bench.plain import binaries, plain_pooler
from bench.row import Row, ratio_at_least
from cenote.layout import Layout
from tests.support.service import Service, added_pool, online_cluster, service

RUNS = 20  # many short ones: whatever else the machine does then falls on both of a pair
SECONDS = 1
SCALE = 5  # times 100,000 rows
POOL = 10  # connections to the server
QUERYING = ("-S", "-c", "8", "-j", "1")
# One client after the other: most of a login is the client's own work, and with more clients than cores the
# clients would wait for each other and not for the pooler.
LOGGING_IN = ("-S", "-C", "-c", "1", "-j", "1")


def measure() -> list[Row]:
    options = ("--requests-per-hour=0", "--requests-per-minute=0")
    with service(*options, on_disk=True) as running, running.client() as client:
        cluster = online_cluster(client, "bench")
        direct = cluster["connection"]
        _pgbench(direct, "-i", "-q", "-s", str(SCALE))
        pool = added_pool(client, cluster["id"], "bench", size=POOL)["connection"]
        return [_queries(running, cluster, direct, pool), _logins(running, cluster, direct, pool)]


def _queries(running: Service, cluster: Any, direct: Any, pool: Any) -> Row:
    paths = Layout(running.data_dir).node(UUID(cluster["id"]))
    target = (
        f"host={paths.sockets} port={direct['port']} dbname={direct['database']} user={direct['user']}"
        f" pool_mode=transaction pool_size={POOL}"
    )
    verifiers = (paths.pooler / "userlist.txt").read_text()
    with plain_pooler(paths.certificate, target, verifiers, direct) as peer:
        ours, floor = _by_turns(pool, peer, QUERYING)
    return Row("pgbench -S through a pool / PgBouncer by hand", "/s", ours, floor, (ratio_at_least(0.97),))


def _logins(running: Service, cluster: Any, direct: Any, pool: Any) -> Row:
    paths = Layout(running.data_dir).node(UUID(cluster["id"]))
    target = (
        f"host=127.0.0.1 port={direct['port']} dbname={direct['database']}"
        f" pool_mode=transaction pool_size={POOL}"
    )
    plain = f'"{direct["user"]}" "{direct["password"]}"\n'
    with plain_pooler(paths.certificate, target, plain, direct) as peer:
        ours, floor = _by_turns(pool, peer, LOGGING_IN)
    return Row("logins through a pool / plain passwords", "/s", ours, floor, (ratio_at_least(1.8),))


def _by_turns(ours: Any, peer: Any, options: tuple[str, ...]) -> tuple[list[float], list[float]]:
    measured: tuple[list[float], list[float]] = ([], [])
    turns = list(zip((ours, peer), measured, strict=True))
    for _ in range(RUNS):
        for connection, samples in turns:
            samples.append(_rate(_pgbench(connection, "-n", "-T", str(SECONDS), *options)))
        turns.reverse()  # so that neither always comes first
    return measured


def _pgbench(connection: Any, *options: str) -> str:
    """Run pgbench; the password goes by its environment, since everybody may read its arguments."""
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


def _rate(told: str) -> float:
    found = re.search(r"^tps = ([\d.]+)", told, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench says something unknown:\n{told}")
    return float(found[1])
