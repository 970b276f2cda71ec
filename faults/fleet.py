"""The loss of one of several hosts: all of its processes at once, as when its power goes.

Its clusters are to be down in words, the other hosts are to notice nothing, and after its return all is to be
as before: every row, every server where it was, no port lost and nothing left over.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from faults.kills import surplus
from faults.outcome import Outcome
from tests.support.fleet import Fleet, FleetHost, fleet
from tests.support.service import answer_of, calling, online, online_cluster
from tests.support.waiting import wait_until

HOSTS = 3
DOWN = ("down",)  # what the health of a lost host's clusters becomes
DOWN_SECONDS = 40.0
SLOW = 0.05  # seconds: what 99 of 100 GETs of the others are to take at most
RETURN_SECONDS = 120.0
PAUSE = 0.05  # seconds between two questions of one asker


def battery(losses: int, clusters: int, seed: str) -> Outcome:
    """Lose a random one of three hosts so many times.

    ``answer`` are the times of GETs that the other hosts answered until its return, which takes processors
    that all hosts share; ``change`` are the seconds until a cluster of the lost host was down in words.
    """
    chance = random.Random(f"{seed}-fleet")
    outcome = Outcome(f"loss of one of {HOSTS} hosts, {clusters} clusters")
    with fleet(HOSTS, clusters=2 * clusters) as hosts:
        made = Made(hosts, clusters)
        for number in range(1, losses + 1):
            _lose(hosts, made, chance, outcome, f"loss {number}")
            outcome.times += 1
    if outcome.answer:
        outcome.figures["GET p99 of the others, s"] = percentile(outcome.answer, 0.99)
        if outcome.figures["GET p99 of the others, s"] > SLOW:
            outcome.lost.append("GETs of the other hosts were slow")
    return outcome


class Made:
    """Clusters with one row each, by id; ``where`` has the host that runs each."""

    def __init__(self, hosts: Fleet, number: int) -> None:
        self.rows: dict[str, int] = {}
        self.uris: dict[str, str] = {}
        self._hosts, self._names = hosts, 0
        for _ in range(number):
            self.add(hosts.hosts[self._names % len(hosts.hosts)])

    def add(self, through: FleetHost) -> None:
        with through.client() as client:
            self._names += 1
            cluster = online_cluster(client, f"shop-{self._names}")
        id, uri = str(cluster["id"]), str(cluster["connection"]["uri"])
        self.rows[id], self.uris[id] = self._names, uri
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT %s::int AS value", (self._names,))

    def forget(self, id: str) -> None:
        del self.rows[id], self.uris[id]

    def on(self, host: FleetHost) -> list[str]:
        folder: Path = host.data_dir / "clusters"
        return sorted(id for id in self.rows if (folder / id).exists())


def _lose(hosts: Fleet, made: Made, chance: random.Random, outcome: Outcome, label: str) -> None:
    lost = chance.choice([host for host in hosts.hosts if made.on(host)])
    others = [host for host in hosts.hosts if host is not lost]
    gone = made.on(lost)
    beside = [id for host in others for id in made.on(host)]
    asker = chance.choice(others)
    back = threading.Event()
    with (
        calling(asker) as http,
        _asking(others, outcome, label, back),
        _connecting(made, beside, outcome, label),
    ):
        lost.lose()
        at = time.monotonic()
        down: dict[str, float] = {}

        def all_down() -> bool:
            for one in http.get("/v2/databases?per_page=200").json()["databases"]:
                if one["id"] in gone and one["cenote"]["health"] in DOWN and one["cenote"]["reason"]:
                    down.setdefault(one["id"], time.monotonic() - at)
            return len(down) == len(gone)

        _noted(outcome, label, "the clusters of the lost host are down", DOWN_SECONDS, all_down)
        outcome.change += down.values()
        doomed = chance.choice(gone)
        answer = http.delete(f"/v2/databases/{doomed}")
        if answer.status_code != 204:
            outcome.lost.append(f"{label}: the DELETE of a lost cluster was answered {answer.status_code}")
        else:
            made.forget(doomed)
        back.set()
        lost.start()
        _noted(outcome, label, "all is as before", RETURN_SECONDS, lambda: _is_whole(hosts, made, http))
    for id, row in made.rows.items():
        with asker.client() as client:
            online(client, id)
        if (found := answer_of(made.uris[id], "SELECT value FROM kept")) != row:
            outcome.lost.append(f"{label}: the row of {id} is {found}")
    left_over(hosts, made, outcome, label)
    made.add(asker)


def _is_whole(hosts: Fleet, made: Made, http: httpx.Client) -> bool:
    found = http.get("/v2/databases?per_page=200").json()["databases"]
    healthy = {one["id"] for one in found if one["cenote"]["health"] == "healthy"}
    return healthy == set(made.rows) and not surplus_of(hosts, made) and not lost_ports(made, http)


def surplus_of(hosts: Fleet, made: Made) -> list[str]:
    return [f"{host.name}: {line}" for host in hosts.hosts for line in surplus(host, set(made.on(host)))]


def lost_ports(made: Made, http: httpx.Client) -> list[str]:
    found = http.get("/v2/cenote/hosts").json()["hosts"]
    claimed = sum(one["ports"]["claimed"] for one in found)
    wanted = 3 * len(made.rows)
    words = [f"{claimed} ports are claimed instead of {wanted}"] if claimed != wanted else []
    return words + [f"{one['name']}: {one['unknown']} are unknown" for one in found if one["unknown"]]


def left_over(hosts: Fleet, made: Made, outcome: Outcome, label: str) -> None:
    with calling(hosts.hosts[0]) as http:
        found = surplus_of(hosts, made) + lost_ports(made, http)
    outcome.orphans += [f"{label}: {line}" for line in found]


def _noted(outcome: Outcome, label: str, what: str, seconds: float, condition: Any) -> None:
    try:
        wait_until(what, seconds, condition)
    except AssertionError as error:
        outcome.lost.append(f"{label}: {error}")


@contextmanager
def _asking(others: list[FleetHost], outcome: Outcome, label: str, back: threading.Event) -> Iterator[None]:
    """Ask each of the other APIs and consoles all the while; the times count until ``back`` is set."""

    def ask(host: FleetHost, done: threading.Event) -> None:
        with calling(host) as http:
            while not done.is_set():
                for path in ("/v2/databases?per_page=200", "/console/sign-in"):
                    began = time.monotonic()
                    try:
                        status = http.get(path).status_code
                    except httpx.HTTPError as error:
                        outcome.torn += 1
                        outcome.lost.append(f"{label}: {host.name} has not answered {path}: {error}")
                        continue
                    if not back.is_set():
                        outcome.answer.append(time.monotonic() - began)
                    outcome.answered += 1
                    if status >= 400:
                        outcome.lost.append(f"{label}: {host.name} answered {path} with {status}")
                done.wait(PAUSE)

    with _threads([(ask, host) for host in others]):
        yield


@contextmanager
def _connecting(made: Made, ids: list[str], outcome: Outcome, label: str) -> Iterator[None]:
    """Connect to each of the clusters of the other hosts all the while."""

    def connect(id: str, done: threading.Event) -> None:
        while not done.is_set():
            try:
                if answer_of(made.uris[id], "SELECT value FROM kept") != made.rows[id]:
                    outcome.lost.append(f"{label}: {id} has lost its row")
            except psycopg.Error as error:
                outcome.lost.append(f"{label}: {id} on another host: {error}")
            done.wait(10 * PAUSE)

    with _threads([(connect, id) for id in ids]):
        yield


@contextmanager
def _threads(work: list[tuple[Any, Any]]) -> Iterator[None]:
    done = threading.Event()
    threads = [threading.Thread(target=step, args=(what, done)) for step, what in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of all is not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
