"""Planned switches of a cluster of three nodes, under writers with prepared statements in pools on all hosts.

Nothing may fail, no acknowledged row may be lost, and ``answer`` is how long the writer that waited longest
had to wait in each switch.  Then with a transaction that does not end, waited for or cut; with sessions and a
trusted source; and with processes of the service killed in the middle.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import psycopg

from cenote.model.paths import Layout
from cenote_client import Client
from faults import ledger
from faults.ledger import Failure, Ledger, Row
from faults.outcome import Outcome
from tests.support.fleet import fleet
from tests.support.service import added_pool
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

WRITERS = 20
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 1.0  # that writers work before a switch and after it
OVER_SECONDS, LONG_SECONDS = 60.0, 5.0
WHOLE_SECONDS = 15.0  # until all is well again after a kill
QUIET_SECONDS = float(os.environ.get("QUIET") or 60)  # in which no standby may connect anew
AIM_MEDIAN, AIM_WORST = 0.5, 1.0
KILLED = ("agent", "api")
LATEST_KILL = 1.2  # seconds after a switch was asked for


def batteries(names: Sequence[str], runs: int, seed: str) -> list[Outcome]:
    """Run these scenarios, or all, with so many switches each."""
    chance = random.Random(f"{seed}-switch")
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    with fleet(3, joined=True, clusters=4) as hosts, trio(hosts.hosts) as cluster:
        return [_scenario(cluster, name, runs, chance) for name in names or SCENARIOS]


class Battery:
    """Switches of a cluster while rows are written."""

    def __init__(self, cluster: Trio, outcome: Outcome, written: Ledger, client: Client) -> None:
        self.cluster, self.outcome, self._written, self.client = cluster, outcome, written, client
        self.held: list[float] = []

    def switch(self, **wish: object) -> float:
        """Switch to another node; note how long the call took, and return for how long a writer waited."""
        time.sleep(BEFORE_SECONDS)
        began, before = time.monotonic(), self.cluster.primary()
        self.client.request("POST", self._path, json=wish)
        wait_until("the switch is over", OVER_SECONDS, lambda: not self._is_under_way())
        self.outcome.change.append(time.monotonic() - began)
        if self.cluster.primary() == before:
            self.outcome.lost.append(f"{before} still takes writes: {self._told()}")
        return self.waited(began)

    def waited(self, since: float) -> float:
        """Return for how long the writer that waited longest has waited, once all write again."""
        at = time.monotonic()

        def all_write() -> bool:
            rows, _ = self._written.read()
            return len({row.writer for row in rows if row.at > at}) == WRITERS

        wait_until("all writers write", OVER_SECONDS, all_write)
        rows, _ = self._written.read()
        return max(row.at - row.sent for row in rows if row.at > since)

    def settle(self) -> None:
        time.sleep(AFTER_SECONDS)
        self.cluster.wait_until_healthy()
        wait_until("commits wait for both standbys", OVER_SECONDS, lambda: self.cluster.quorum() == 2)

    def failures(self) -> list[Failure]:
        return self._written.read()[1]

    def paused(self) -> list[str]:
        """Return the pools that are paused, with their hosts."""
        found = []
        for host in self.cluster.hosts:
            port = next(
                one["pool_port"]
                for one in self.cluster.shown()["cenote"]["uris"]["hosts"]
                if one["host"] == host.address
            )
            sockets = Layout(host.data_dir).cluster(self.cluster.id).sockets
            with psycopg.connect(
                host=str(sockets),
                port=port,
                user="cenote",
                dbname="pgbouncer",
                autocommit=True,
                cursor_factory=psycopg.ClientCursor,
            ) as console:
                cursor = console.execute("SHOW DATABASES")
                names = [column.name for column in cursor.description or ()]
                rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            found += [f"{row['name']} on {host.name}" for row in rows if row["paused"]]
        return found

    @property
    def _path(self) -> str:
        return f"/v2/databases/{self.cluster.id}/switchover"

    def _is_under_way(self) -> bool:
        return "switchover" in self.cluster.shown()["cenote"]

    def _told(self) -> str:
        return "; ".join(self.cluster.events("cluster_update")[:1])


def plain(battery: Battery, _chance: random.Random) -> float:
    return battery.switch()


def long_transaction(battery: Battery, _chance: random.Random) -> float:
    """With a transaction in a pool that ends after a while: it is waited for."""
    with psycopg.connect(battery.cluster.uris[0]) as slow:
        slow.execute("INSERT INTO ledger VALUES (-1, -1)")
        timer = threading.Timer(LONG_SECONDS, slow.commit)
        timer.start()
        held = battery.switch(seconds=60)
        timer.join()
    return held


def cut(battery: Battery, _chance: random.Random) -> float:
    """The same, with that transaction cut."""
    with contextlib.closing(psycopg.connect(battery.cluster.uris[0])) as slow:
        slow.execute("INSERT INTO ledger VALUES (-2, -2)")
        held = battery.switch(cut=True)
        _is_ended(slow, battery)
    return held


def sessions(battery: Battery, _chance: random.Random) -> float:
    """With a session in a pool of sessions, one on the direct port, and a trusted source."""
    uri = added_session_pool(battery)
    direct = battery.cluster.shown()["connection"]["uri"]
    with contextlib.closing(psycopg.connect(uri, autocommit=True)) as pooled:
        pooled.execute("SELECT 1")
        with contextlib.closing(psycopg.connect(direct, autocommit=True)) as straight:
            held = battery.switch()
            _is_ended(pooled, battery)
            _is_ended(straight, battery)
    battery.settle()
    before = _senders(battery.cluster)
    time.sleep(QUIET_SECONDS)
    if _senders(battery.cluster) != before:
        battery.outcome.lost.append("standbys have connected anew")
    return held


def added_session_pool(battery: Battery) -> str:
    client, id = battery.client, str(battery.cluster.id)
    if battery.cluster.shown()["rules"]:
        pool = client.request("GET", f"/v2/databases/{id}/pools/sessions")["pool"]
    else:
        pool = added_pool(client, id, "sessions", size=2, mode="session")
        rules = [{"type": "ip_addr", "value": "127.0.0.0/8"}]
        client.request("PUT", f"/v2/databases/{id}/firewall", json={"rules": rules})
    return str(pool["connection"]["uri"])


def killed(battery: Battery, chance: random.Random) -> float:
    """With the agent or the API of a host, of which one has the controller, killed at any moment of it."""
    host, name = chance.choice(battery.cluster.hosts), chance.choice(KILLED)
    moment, began = chance.uniform(0, LATEST_KILL), time.monotonic()
    timer = threading.Timer(moment, os.kill, (host.processes()[name], signal.SIGKILL))
    timer.start()
    with contextlib.suppress(httpx.HTTPError, OSError):  # its API may be the one that is killed
        battery.client.request("POST", f"/v2/databases/{battery.cluster.id}/switchover", json={})
    timer.join()
    at = time.monotonic()
    label = f"{name} of {host.name} killed after {moment:.2f} s"
    try:
        wait_until("no pool is paused", WHOLE_SECONDS, lambda: not battery.paused())
        held = battery.waited(began)
        battery.outcome.change.append(time.monotonic() - at)
    except AssertionError as error:
        battery.outcome.orphans.append(f"{label}: {error}")
        print(battery.outcome.orphans[-1], flush=True)
        held = OVER_SECONDS
    wait_until(
        "the switch is over", OVER_SECONDS, lambda: "switchover" not in battery.cluster.shown()["cenote"]
    )
    return held


def _is_ended(connection: psycopg.Connection, battery: Battery) -> None:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return
    battery.outcome.lost.append("a session has gone on")


def _senders(cluster: Trio) -> list[tuple[object, ...]]:
    return cluster.on_primary("SELECT application_name, backend_start FROM pg_stat_replication ORDER BY 1")


Scenario = Callable[[Battery, random.Random], float]
SCENARIOS: dict[str, Scenario] = {
    "plain": plain,
    "long_transaction": long_transaction,
    "cut": cut,
    "sessions": sessions,
    "killed": killed,
}
HELD_SHORTLY = ("plain", "cut", "sessions")


def _scenario(cluster: Trio, name: str, runs: int, chance: random.Random) -> Outcome:
    outcome = Outcome(f"switch: {name}")
    cluster.on_primary("TRUNCATE ledger", database="defaultdb")
    with tempfile.TemporaryDirectory() as folder, cluster.hosts[0].client() as client:
        path = Path(folder) / "ledger"
        with ledger.writing(path, range(WRITERS), cluster.uris, prepared=True) as written:
            battery = Battery(cluster, outcome, written, client)
            for number in range(1, runs + 1):
                battery.settle()
                held = SCENARIOS[name](battery, chance)
                outcome.times += 1
                outcome.answer.append(held)
                print(f"switch: {name} {number}: held {held:.3f} s, at {time.monotonic():.2f}", flush=True)
            battery.settle()
        rows, failed = written.read()
        judge(cluster, outcome, rows, failed)
        if name != "killed":
            outcome.lost += [f"writer {one.writer} at {one.at:.2f}: {one.why}" for one in failed]
        median, worst = statistics.median(outcome.answer), max(outcome.answer)
        if name in HELD_SHORTLY and (median > AIM_MEDIAN or worst > AIM_WORST):
            outcome.figures["aim missed"] = 1
    return outcome


def judge(cluster: Trio, outcome: Outcome, rows: list[Row], failed: list[Failure]) -> None:
    """Compare what was acknowledged with what is there, and note for how long writers were held."""
    found = set(cluster.on_primary("SELECT writer, number FROM ledger", database="defaultdb"))
    lost = {(row.writer, row.number) for row in rows} - found
    outcome.answered, outcome.torn = len(rows), len(failed)
    outcome.figures["acknowledged rows that are lost"] = len(lost)
    if lost:
        outcome.lost.append(f"{len(lost)} rows are lost, such as {min(lost)}")
    if (-2, -2) in found:
        outcome.lost.append("a transaction that was cut is there")
    if outcome.answer:
        median, worst = statistics.median(outcome.answer), max(outcome.answer)
        outcome.figures |= {"held, median, s": median, "held, worst, s": worst}
