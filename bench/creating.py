"""The time until the pool of a new cluster answers, and until a further pool does.

A cluster has two floors, both with the same settings on the same file system: copying the template and
``pg_ctl -w start``; and ``pg_ctl -w start`` alone on a copy made in advance, as we do.  The floor of a pool
is one ``RELOAD`` on PgBouncer's console and one connection through an existing pool.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from bench.plain import plain_server, template_of
from bench.row import Row, ours_at_most, ratio_at_most
from cenote.conf.pgbouncer import ADMIN_DATABASE, ADMIN_USER
from cenote.model.paths import Layout
from cenote_client import Client
from tests.support.service import SMALLEST, Service, added_pool, answer_of, online_cluster, service
from tests.support.waiting import wait_until

CLUSTERS, POOLS = 7, 15  # samples
ASK_EVERY = 0.01  # seconds between a customer's polls of a cluster that is being created


def measure() -> list[Row]:
    options = ("--requests-per-hour=0", "--requests-per-minute=0")
    with service(*options, on_disk=True) as running, running.client() as client:
        cluster = online_cluster(client, "first")
        return [*_clusters(running, client, cluster), _pools(running, client, cluster)]


def _clusters(running: Service, client: Client, cluster: Any) -> list[Row]:
    template = template_of(running, cluster, running.data_dir / "bench-template")
    ours: list[float] = []
    copied: list[float] = []
    ready: list[float] = []
    for number in range(CLUSTERS):
        wait_for_spare(running)
        with timed(ours):
            id = create(client, f"cluster-{number}")
        client.request("DELETE", f"/v2/databases/{id}")
        wait_until_gone(running, id)
        wait_for_spare(running)
        with plain_server() as server, timed(copied):
            server.copy(template)
            server.start()
        with plain_server() as server:
            server.copy(template)
            server.flush()
            with timed(ready):
                server.start()
    aims = (ratio_at_most(2.5), ours_at_most(1000))
    return [
        Row("POST cluster → online → its pool answers / copy, start", "ms", ours, copied, aims),
        Row("the same / start alone", "ms", ours, ready, aims),
    ]


def create(client: Client, name: str) -> str:
    id: str = client.request("POST", "/v2/databases", json=SMALLEST | {"name": name})["database"]["id"]
    while client.request("GET", f"/v2/databases/{id}")["database"]["status"] != "online":
        time.sleep(ASK_EVERY)
    answer_of(added_pool(client, id, "first")["connection"]["uri"])
    return id


def _pools(running: Service, client: Client, cluster: Any) -> Row:
    id = cluster["id"]
    known = added_pool(client, id, "known", size=1)["connection"]
    answer_of(known["uri"])
    sockets = Layout(running.data_dir).cluster(UUID(id)).sockets
    ours: list[float] = []
    floor: list[float] = []
    for number in range(POOLS):
        with timed(ours):
            answer_of(added_pool(client, id, f"pool-{number}", size=1)["connection"]["uri"])
        with timed(floor):
            _console(sockets, known["port"], b"RELOAD")
            answer_of(known["uri"])
    return Row("POST pool → 201 → first query through it", "ms", ours, floor, (ours_at_most(100),))


def _console(sockets: Path, port: int, command: bytes) -> None:
    with psycopg.connect(
        host=str(sockets),
        port=port,
        user=ADMIN_USER,
        dbname=ADMIN_DATABASE,
        autocommit=True,
        cursor_factory=psycopg.ClientCursor,
    ) as connection:
        connection.execute(command)


def wait_for_spare(running: Service) -> None:
    templates = Layout(running.data_dir).templates
    wait_until("a spare copy of the template lies ready", 60, lambda: any(templates.glob("*.spare")))


def wait_until_gone(running: Service, id: str) -> None:
    folder = Layout(running.data_dir).clusters / id
    wait_until("the cluster is gone", 60, lambda: not folder.exists())


@contextlib.contextmanager
def timed(samples: list[float]) -> Iterator[None]:
    """Append the milliseconds that the block took."""
    began = time.perf_counter()
    yield
    samples.append((time.perf_counter() - began) * 1000)
