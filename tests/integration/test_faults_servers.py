"""``kill -9`` of PostgreSQL, PgBouncer and etcd while clients work through the pool and the API."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.service import (
    SMALLEST,
    WITHOUT_LIMITS,
    Service,
    added_pool,
    calling,
    online,
    online_cluster,
    service,
)
from tests.support.waiting import wait_until

CLIENTS = 4
SERVERS = ["PostgreSQL", "PgBouncer", "etcd"]
KILLS_OF_ETCD = 4


@dataclass
class Load:
    """Clients that ask through a pool all the time, and connect again whenever they are cut off."""

    uri: str
    answers: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    cuts: int = 0

    def work(self, number: int, enough: threading.Event) -> None:
        while not enough.is_set():
            try:
                with psycopg.connect(self.uri, autocommit=True, connect_timeout=60) as connection:
                    while not enough.is_set():
                        assert connection.execute("SELECT 40 + 2").fetchone() == (42,)
                        self.answers[number] += 1
            except psycopg.OperationalError:
                self.cuts += 1
                enough.wait(0.02)

    def goes_on(self) -> None:
        """Wait until every client has had more answers from now on."""
        before = list(self.answers)
        wait_until(
            "every client has answers again",
            60,
            lambda: all(now > then + 5 for now, then in zip(self.answers, before, strict=True)),
        )


@dataclass
class Loaded:
    service: Service
    cluster: Any
    uri: str


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    with service(*WITHOUT_LIMITS) as running, running.client() as client:
        cluster = online_cluster(client, "under-load")
        yield Loaded(running, cluster, added_pool(client, cluster["id"], "load", size=4)["connection"]["uri"])


@contextlib.contextmanager
def load_on(uri: str) -> Iterator[Load]:
    load, enough = Load(uri), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        working = [threads.submit(load.work, number, enough) for number in range(CLIENTS)]
        try:
            load.goes_on()
            yield load
        finally:
            enough.set()
        for work in working:
            work.result()


def killed(running: Service, name: str) -> None:
    """Kill a server and wait until another process has taken its place."""
    pid = running.servers()[name]
    os.kill(pid, signal.SIGKILL)
    wait_until(f"{name} is back", 60, lambda: running.servers().get(name, pid) != pid)


@pytest.mark.parametrize("restarted", [False, True], ids=["its-own", "adopted"])
@pytest.mark.parametrize("name", SERVERS)
def test_clients_work_on_after_a_server_was_killed(loaded: Loaded, name: str, restarted: bool) -> None:
    if restarted:
        before = loaded.service.servers()
        loaded.service.end(signal.SIGKILL)
        loaded.service.start()
        assert loaded.service.servers() == before
    with load_on(loaded.uri) as load:
        killed(loaded.service, name)
        load.goes_on()
        with loaded.service.client() as client:
            assert online(client, loaded.cluster["id"])["connection"] == loaded.cluster["connection"]
        if name == "etcd":
            assert load.cuts == 0


def test_a_direct_session_outlives_the_pooler(loaded: Loaded) -> None:
    with psycopg.connect(loaded.cluster["connection"]["uri"], autocommit=True) as session:
        session.execute("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
        killed(loaded.service, "PgBouncer")
        assert session.execute("SELECT seven FROM mine").fetchone() == (7,)


@pytest.mark.parametrize("what", ["pool", "cluster"])
def test_no_server_error_follows_a_create_that_happened(loaded: Loaded, what: str) -> None:
    """A client creates and deletes while etcd is killed again and again under the service."""
    enough = threading.Event()
    wanted: dict[str, Any] = {"name": "passing"}
    path = "/v2/databases"
    if what == "pool":
        path += f"/{loaded.cluster['id']}/pools"
        wanted |= {"mode": "session", "size": 1, "db": "defaultdb", "user": "doadmin"}
    else:
        wanted |= SMALLEST
    created: list[str] = []
    refusal = f"{what} name is not available"
    with calling(loaded.service) as http, ThreadPoolExecutor(1) as threads:
        work = threads.submit(create_and_delete, http, path, wanted, refusal, created, enough)
        try:
            for _ in range(KILLS_OF_ETCD):
                killed(loaded.service, "etcd")
            wait_until("something was created", 60, lambda: created or work.done())
        finally:
            enough.set()
        work.result()
    assert created


def create_and_delete(
    http: httpx.Client,
    path: str,
    wanted: dict[str, Any],
    refusal: str,
    created: list[str],
    enough: threading.Event,
) -> None:
    """Note the names of what was created; there is no answer that does not say what happened."""
    while not enough.is_set():
        answer = http.post(path, json=wanted)
        listed = next(iter(http.get(path, params={"per_page": 200}).json().values()))
        there = [one for one in listed if one["name"] == wanted["name"]]
        if answer.status_code == 201:
            assert len(there) == 1
            created.append(wanted["name"])
            again = http.post(path, json=wanted)
            assert (again.status_code, again.json()["message"]) == (422, refusal)
            assert http.delete(f"{path}/{there[0].get('id', wanted['name'])}").status_code == 204
        else:
            assert (answer.status_code, there) == (503, []), answer.text
