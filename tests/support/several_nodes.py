"""A cluster whose nodes share one host: its nodes, their servers, and a client that writes all the while."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.host import processes
from cenote.model.paths import Layout, NodePaths
from cenote.model.processes import Process
from cenote.model.topology import SHARED
from cenote_client import Client
from tests.support.service import SMALLEST, Service
from tests.support.waiting import wait_until

SECONDS = 90


def several(client: Client, name: str, count: int) -> Any:
    """Create a cluster whose nodes share this host, and return it once all of them work."""
    fields = SMALLEST | {"name": name, "num_nodes": count}
    id = client.request("POST", "/v2/databases", json=fields)["database"]["id"]
    return settled(client, id)


def settled(client: Client, id: str, reason: str = SHARED) -> Any:
    """Return a cluster once all of its nodes are as wanted."""
    found: Any = None

    def ready() -> bool:
        nonlocal found
        found = client.request("GET", f"/v2/databases/{id}")["database"]
        return bool(found["status"] == "online" and found["cenote"]["reason"] == reason)

    try:
        wait_until("it is online", SECONDS, ready)
    except AssertionError:
        print(found["status"], found["cenote"])
        raise
    return found


def node(running: Service, cluster: Any, number: int) -> NodePaths:
    return Layout(running.data_dir).node(UUID(cluster["id"]), f"node-{number}")


def patroni(running: Service, cluster: Any, number: int) -> Process | None:
    return processes.find(node(running, cluster, number).failover_agent(Path()))


def server(running: Service, cluster: Any, number: int) -> Process | None:
    return processes.find(node(running, cluster, number).server(Path()))


def writer(running: Service, cluster: Any, *numbers: int) -> int | None:
    """Return the number of the node whose data directory is that of a primary."""
    found = [number for number in numbers if not node(running, cluster, number).standby_signal.exists()]
    return found[0] if len(found) == 1 else None


def may_take_over(running: Service, cluster: Any) -> bool:
    """Return whether Patroni takes a node for one that lacks nothing; else it starts a killed one again."""

    async def read() -> bool:
        async with running.etcd_client() as etcd:
            found = await etcd.read(f"/cenote-patroni/{cluster['id']}/sync")
            return found is not None and bool(json.loads(found.value).get("sync_standby"))

    return asyncio.run(read())


class Writing:
    """Rows that are written one by one through a pool, and those of them that were acknowledged."""

    def __init__(self, uri: str) -> None:
        self._uri, self._end = uri, threading.Event()
        self.acknowledged: list[int] = []
        self.failed: list[str] = []
        self.gap = 0.0
        self._thread = threading.Thread(target=self._write)

    def start(self) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS ledger")
            connection.execute("CREATE TABLE ledger (number int)")
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        print(f"{len(self.acknowledged)} rows, {len(self.failed)} failed, longest gap {self.gap:.2f} s")

    def _write(self) -> None:
        number, last = 0, time.monotonic()
        while not self._end.is_set():
            try:
                with psycopg.connect(self._uri, autocommit=True, connect_timeout=60) as connection:
                    while not self._end.is_set():
                        number += 1
                        connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
                        self.acknowledged.append(number)
                        self.gap, last = max(self.gap, time.monotonic() - last), time.monotonic()
                        time.sleep(0.005)
            except psycopg.Error as error:
                self.failed.append(str(error))
                time.sleep(0.02)

    def goes_on(self) -> None:
        """Wait until more rows are written."""
        before = len(self.acknowledged)
        wait_until("more rows are written", SECONDS, lambda: len(self.acknowledged) > before + 50)

    def check(self, uri: str) -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            found = {number for (number,) in connection.execute("SELECT number FROM ledger").fetchall()}
        assert set(self.acknowledged) <= found


@contextlib.contextmanager
def writing(uri: str) -> Iterator[Writing]:
    ledger = Writing(uri)
    ledger.start()
    try:
        ledger.goes_on()
        yield ledger
    finally:
        ledger.stop()


def shown_nodes(running: Service, cluster: Any) -> list[Any]:
    with running.client() as client:
        return list(client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]["nodes"])


def on_node(running: Service, cluster: Any, number: int, query: str) -> list[Any]:
    """Ask a node's server as the superuser."""
    place = node(running, cluster, number)
    nodes = {one["name"]: one["port"] for one in shown_nodes(running, cluster)}
    with psycopg.connect(
        host=str(place.cluster.sockets),
        port=nodes[f"node-{number}"],
        user="postgres",
        dbname="postgres",
        autocommit=True,
    ) as connection:
        done = connection.execute(query.encode())
        return done.fetchall() if done.description else []


def reason(client: Client, cluster: Any) -> str:
    found = client.request("GET", f"/v2/databases/{cluster['id']}")["database"]["cenote"]
    return str(found["reason"])
