"""A host is drained while clients work in the pools of its clusters: how long they are held, and what fails.

Each transaction that was acknowledged must be there afterwards, and nothing of the clusters on the host.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import psycopg

from cenote_client import Client
from faults.outcome import Outcome
from tests.support import pgbench
from tests.support.fleet import FleetHost, fleet
from tests.support.service import added_pool, online_cluster
from tests.support.waiting import wait_until

CLIENTS, RATE = 2, 20  # of each cluster, and their transactions in a second
LONGEST = 900  # seconds


def battery(clusters: int) -> Outcome:
    """Drain a host with so many clusters, under load in a pool of each."""
    outcome = Outcome(f"drain of {clusters} clusters")
    with fleet(2, clusters=clusters + 2) as hosts:
        [first, second] = hosts.hosts
        with first.client() as client, contextlib.ExitStack() as stack:
            made = [_placed(client, f"drained-{number}", first.name) for number in range(clusters)]
            seen = [stack.enter_context(pgbench.bench(uri, clients=CLIENTS, rate=RATE)) for _, uri in made]
            host = _host(client, first)
            began = time.monotonic()
            client.cenote.drain_host(host["id"])
            for id, _ in made:
                wait_until(f"{id} has moved", LONGEST, partial(_is_on, client, id, second))
            outcome.change.append(time.monotonic() - began)
            time.sleep(1)
            stack.close()
            for (id, _), one in zip(made, seen, strict=True):
                outcome.times += 1
                outcome.answered += one.done
                outcome.answer.append(one.held)
                if one.failed:
                    outcome.lost.append(f"{id}: {one.failed}")
                found = _rows(client, id)
                if found != one.done:
                    outcome.lost.append(f"{id}: {one.done} transactions, {found} rows")
            try:
                wait_until("nothing is left", 120, lambda: not _left(client, first))
            except AssertionError:
                outcome.orphans += _left(client, first)
    return outcome


def _placed(client: Client, name: str, host: str) -> tuple[str, str]:
    """Create a cluster on a host with pgbench's tables; return its id and the URI of its pool."""
    cluster = online_cluster(client, name, cenote={"host": host})
    pool = added_pool(client, cluster["id"], "web")
    pgbench.initialize(cluster["connection"]["uri"])
    return cluster["id"], pool["connection"]["uri"]


def _host(client: Client, host: FleetHost) -> Any:
    return next(one for one in client.cenote.list_hosts()["hosts"] if one["name"] == host.name)


def _is_on(client: Client, id: str, host: FleetHost) -> bool:
    found: Any = client.databases.get_cluster(id)["database"]
    return bool(found["cenote"]["host"] == host.name)


def _rows(client: Client, id: str) -> int:
    uri = client.databases.get_cluster(id)["database"]["connection"]["uri"]
    with psycopg.connect(uri, autocommit=True) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM pgbench_history").fetchall()
    return int(count)


def _left(client: Client, host: FleetHost) -> list[str]:
    """Return what is left of clusters on a host: in its folders and in the store."""
    found = _host(client, host)
    folders = [*host.data_dir.glob("clusters/*"), *host.data_dir.glob("run/*")]
    return [
        *map(str, folders),
        *([f"{found['clusters']} clusters"] if found["clusters"] else []),
        *([f"{found['ports']['claimed']} ports"] if found["ports"]["claimed"] else []),
    ]
