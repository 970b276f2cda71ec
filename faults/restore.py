"""Restores to moments: what was acknowledged before one is in the fork, and nothing that was sent after it.

The judge is a ledger beside the server: each row's number with the times at which it was sent and
acknowledged, by the one clock of the machine.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

import httpx
import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote_client import BusyError, CenoteError, Client
from faults.outcome import Outcome
from tests.support.folders import server_folder
from tests.support.power import Machine
from tests.support.service import SMALLEST, WITHOUT_LIMITS, Service, online_cluster, service, tried
from tests.support.waiting import wait_until

LONGEST = 300  # seconds
WRITING = 60.0  # seconds of the ledger, at least
STAYS = 60  # seconds after which what was rescued is looked at again
TABLES, BATCH, OBJECTS, OBJECT_KIB = 2_000, 500, 50, 512
LONGEST_KILL = 2.5  # seconds from the request of a fork to the kill; most forks take less


@dataclass
class Ledger:
    """The rows that a client has written: number, and Unix times of sending and of the acknowledgement."""

    rows: list[tuple[int, float, float]] = field(default_factory=list)

    def acknowledged(self, moment: float) -> set[int]:
        return {number for number, _, done in self.rows if done <= moment}

    def sent_after(self, moment: float) -> set[int]:
        return {number for number, sent, _ in self.rows if sent > moment}

    def lost(self, found: set[int], moment: float) -> list[str]:
        """Return what is wrong with the rows of a fork to a moment, in words."""
        missing, early = self.acknowledged(moment) - found, self.sent_after(moment) & found
        told = [f"{len(missing)} acknowledged rows are missing, as {min(missing)}"] if missing else []
        return told + ([f"{len(early)} rows of later are there, as {min(early)}"] if early else [])

    @contextlib.contextmanager
    def written(self, uri: str) -> Iterator[None]:
        """Write rows, until the block ends."""
        ended = threading.Event()
        writing = threading.Thread(target=self._write, args=(uri, ended))
        writing.start()
        try:
            yield
        finally:
            ended.set()
            writing.join()

    def _write(self, uri: str, ended: threading.Event) -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            while not ended.is_set():
                number, sent = len(self.rows), time.time()
                connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
                self.rows.append((number, sent, time.time()))
                ended.wait(0.005)


class Battery:
    """A service that keeps backups in a folder, and a cluster of it that has one."""

    def __init__(self, running: Service, client: Client, seed: str) -> None:
        self.running, self.client = running, client
        self.chance = random.Random(f"{seed}-restore")
        self.cluster: Any = online_cluster(client, "source")
        self.number = 0
        self.wait_for_backups(1)

    @property
    def base(self) -> str:
        return f"/v2/databases/{self.cluster['id']}"

    @property
    def uri(self) -> str:
        return str(self.cluster["connection"]["uri"])

    def run(self, statement: LiteralString) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement)

    def is_healthy(self) -> bool:
        found: Any = self.client.request("GET", self.base)["database"]
        return bool(found["cenote"]["health"] == "healthy")

    def backups(self) -> int:
        with contextlib.suppress(BusyError):
            return len(self.client.databases.list_backups(self.cluster["id"])["backups"])
        return 0

    def wait_for_backups(self, count: int) -> None:
        wait_until(f"there are {count} backups", LONGEST, lambda: self.backups() >= count)

    def back_up(self) -> None:
        """Have a backup made by the schedule, once the newest one is of an earlier minute."""
        found: Any = self.client.databases.list_backups(self.cluster["id"])["backups"]
        newest = datetime.fromisoformat(found[-1]["cenote"]["started_at"])
        wait_until("a new minute has begun", 70, lambda: datetime.now(UTC).replace(second=0) > newest)
        now = datetime.now(UTC)
        chosen = {"config": {"backup_hour": now.hour, "backup_minute": now.minute}}
        self.client.request("PATCH", f"{self.base}/config", json=chosen)
        self.wait_for_backups(len(found) + 1)

    def ask(self, moment: datetime | None) -> str:
        """Ask for a fork; return its id."""
        self.number += 1
        restore = {"database_name": "source"}
        if moment is not None:
            restore["backup_created_at"] = moment.isoformat().replace("+00:00", "Z")
        body = SMALLEST | {"name": f"fork-{self.number}", "backup_restore": restore}
        return str(self.client.request("POST", "/v2/databases", json=body)["database"]["id"])

    def online(self, id: str) -> Any:
        def found() -> Any:
            with contextlib.suppress(httpx.HTTPError, CenoteError):
                cluster = self.client.request("GET", f"/v2/databases/{id}")["database"]
                return cluster if cluster["status"] == "online" else None
            return None

        return wait_until(f"the fork {id} is online", LONGEST, found)

    @contextlib.contextmanager
    def fork(self, moment: datetime | None) -> Iterator[tuple[Any, float]]:
        """Fork to a moment; yield the cluster and the seconds that it took, and remove it."""
        began = time.monotonic()
        cluster = self.online(self.ask(moment))
        try:
            yield cluster, time.monotonic() - began
        finally:
            self.remove(cluster["id"])

    def remove(self, id: str) -> None:
        self.client.request("DELETE", f"/v2/databases/{id}")


def batteries(moments: int, kills: int, seed: str) -> list[Outcome]:
    """Run all of them on one service."""
    with server_folder() as folder:
        options = (f"--backups=file://{folder}/repository", "--undelete-days=0", *WITHOUT_LIMITS)
        with service(*options, clusters=8) as running, running.client() as client:
            battery = Battery(running, client, seed)
            steps: tuple[Callable[[], Outcome], ...] = (
                lambda: _moments(battery, moments),
                lambda: _quiet(battery),
                lambda: _deleted(battery),
                lambda: _many_files(battery),
                lambda: _killed(battery, kills),
            )
            return [_shown(step()) for step in steps]


def _shown(outcome: Outcome) -> Outcome:
    """Print what was found so far, since what follows may end the run."""
    print(f"{outcome.name}: {outcome.cells()[1:]} {outcome.lost}", flush=True)
    return outcome


def _rows(uri: str) -> set[int]:
    with psycopg.connect(uri, autocommit=True) as connection:
        return {number for (number,) in connection.execute("SELECT number FROM ledger")}


def _moments(battery: Battery, count: int) -> Outcome:
    """Fork to random whole seconds of a time in which rows were written."""
    outcome, ledger = Outcome(f"forks to {count} seconds under a writer"), Ledger()
    battery.run("CREATE TABLE ledger (number int)")
    with ledger.written(battery.uri):
        began = time.time()
        time.sleep(WRITING / 2)
        battery.back_up()  # so that some begin with another one
        time.sleep(WRITING / 2)
        span = int(began) + 1, int(time.time()) - 1
        for _ in range(count):
            moment = battery.chance.randint(*span)
            with battery.fork(datetime.fromtimestamp(moment, UTC)) as (cluster, seconds):
                found = _rows(cluster["connection"]["uri"])
            outcome.times += 1
            outcome.change.append(seconds)
            outcome.lost += [f"second {moment}: {line}" for line in ledger.lost(found, moment)]
    outcome.answered = len(ledger.rows)
    return outcome


def _quiet(battery: Battery) -> Outcome:
    """Fork to a second in which nothing happened, and to now."""
    outcome, ledger = Outcome("forks of an idle database"), Ledger()
    battery.run("TRUNCATE ledger")
    with ledger.written(battery.uri):
        time.sleep(1)
    time.sleep(3)
    quiet = datetime.now(UTC).replace(microsecond=0)
    time.sleep(3)
    for moment in (quiet, None):
        with battery.fork(moment) as (cluster, seconds):
            found = _rows(cluster["connection"]["uri"])
        outcome.times += 1
        outcome.change.append(seconds)
        outcome.lost += ledger.lost(found, quiet.timestamp())
    return outcome


def _deleted(battery: Battery) -> Outcome:
    """Delete a database and a user through the API, and fork to the second before."""
    outcome, client = Outcome("a deleted database and user"), battery.client
    client.request("POST", f"{battery.base}/dbs", json={"name": "orders"})
    client.request("POST", f"{battery.base}/users", json={"name": "app"})
    uri = battery.uri.replace("/defaultdb", "/orders")
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 10000) AS id")
    time.sleep(1 - time.time() % 1)
    before = datetime.now(UTC).replace(microsecond=0)
    time.sleep(1)
    for thing in ("dbs/orders", "users/app"):
        client.request("DELETE", f"{battery.base}/{thing}")
    with battery.fork(before) as (cluster, seconds):
        outcome.change.append(seconds)
        at = f"/v2/databases/{cluster['id']}"
        for when in ("at once", f"after {STAYS} s"):
            if when != "at once":
                time.sleep(STAYS)
            rows = tried(
                cluster["connection"]["uri"].replace("/defaultdb", "/orders"), "SELECT count(*) FROM kept"
            )
            names = [one["name"] for one in client.request("GET", f"{at}/users")["users"]]
            listed = [one["name"] for one in client.request("GET", f"{at}/dbs")["dbs"]]
            outcome.times += 1
            if (rows, "orders" in listed, "app" in names) != (10_000, True, True):
                outcome.lost.append(f"{when}: {rows} rows, databases {listed}, users {names}")
    return outcome


def _many_files(battery: Battery) -> Outcome:
    """Fork across large objects and many small tables, in WAL and in a backup."""
    outcome = Outcome(f"{TABLES:,} small tables and {OBJECTS} large objects")
    with psycopg.connect(battery.uri, autocommit=True) as connection:
        for first in range(0, TABLES, BATCH):
            numbers = range(first, first + BATCH)
            connection.execute(SQL(";").join(_creating(number) for number in numbers))
        connection.execute(
            "SELECT lo_from_bytea(0, convert_to(repeat(md5(n::text), %s), 'UTF8'))"
            " FROM generate_series(1, %s) AS n",
            (OBJECT_KIB * 32, OBJECTS),
        )
        wanted = _sums(connection)
        time.sleep(1.1)
        moment = datetime.now(UTC).replace(microsecond=0)
        time.sleep(1)
        connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    for what in ("from WAL", "from a backup"):
        if what == "from a backup":
            battery.back_up()
            time.sleep(1.1)
            moment = datetime.now(UTC).replace(microsecond=0)
        with battery.fork(moment) as (cluster, seconds):
            found = _with(cluster["connection"]["uri"], _sums)
        outcome.times += 1
        outcome.change.append(seconds)
        outcome.figures[f"seconds for 100,000 small tables {what}, extrapolated"] = seconds * 100_000 / TABLES
        expected = wanted if what == "from WAL" else (wanted[0], "")
        outcome.lost += [f"{what}: {found} instead of {expected}"] if found != expected else []
    return outcome


def _creating(number: int) -> Composed:
    statement = SQL("CREATE TABLE {} AS SELECT {} AS id")
    return statement.format(Identifier(f"small_{number}"), Literal(number))


def _with(uri: str, ask: Callable[[psycopg.Connection[Any]], tuple[int, str]]) -> tuple[int, str]:
    with psycopg.connect(uri, autocommit=True) as connection:
        return ask(connection)


def _sums(connection: psycopg.Connection[Any]) -> tuple[int, str]:
    """Return how many small tables there are, and a sum of the large objects."""
    tables = connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'small\\_%'").fetchone()
    objects = connection.execute(
        "SELECT coalesce(md5(string_agg(md5(lo_get(oid)), '' ORDER BY oid)), '') FROM pg_largeobject_metadata"
    ).fetchone()
    assert tables is not None
    assert objects is not None
    return int(tables[0]), str(objects[0])


def _killed(battery: Battery, kills: int) -> Outcome:
    """Kill everything at random moments of a fork: it is never offered half-done, and the next try works."""
    outcome, ledger = Outcome(f"kill -9 of everything during {kills} forks"), Ledger()
    battery.run("TRUNCATE ledger")
    with ledger.written(battery.uri):
        time.sleep(3)
    time.sleep(1)
    moment = datetime.now(UTC).replace(microsecond=0)
    wanted, machine = ledger.acknowledged(moment.timestamp()), Machine(battery.running)
    for number in range(1, kills + 1):
        wait_until("the source works", LONGEST, battery.is_healthy)
        id = battery.ask(moment if number % 2 else None)
        after = battery.chance.uniform(0, LONGEST_KILL)
        deadline = time.monotonic() + after
        while time.monotonic() < deadline:
            time.sleep(0.05)
        machine.off()
        began = time.monotonic()
        machine.on()
        cluster = battery.online(id)
        found = _rows(cluster["connection"]["uri"])
        if found != wanted:
            outcome.lost.append(f"kill {number}, after {after:.3f} s: {len(found)} rows, not {len(wanted)}")
        battery.remove(id)
        outcome.times += 1
        outcome.change.append(time.monotonic() - began)
    return outcome
