"""Cuts at random moments of an online migration, under a writer on the source.

After each, the migration goes on or says in words why it does not.  In the end the rows are equal, or nothing
of it is here; and the source is as it was, without a slot, a publication or a role of the migration.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.host import processes
from cenote.model.paths import Layout
from cenote_client import Client
from faults.outcome import Outcome
from tests.support import pgbench
from tests.support.delaying_relay import DelayingRelay
from tests.support.importing import checksums, rows, uri_of
from tests.support.migrating import ENDS, Migration, state
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.service import WITHOUT_LIMITS, Service, online_cluster, service
from tests.support.waiting import wait_until

TARGETS = ("agent", "server", "connection", "source")
PHASES = ("copying", "syncing", "ending", "given up")
COPYING_SECONDS, SYNCING_SECONDS, ENDING_SECONDS = 9.0, 2.0, 2.0  # within which is cut
AWAY_SECONDS = 3.0  # of the connection, or the source
OVER_SECONDS = 240.0
DATABASE = "bank"
MORE = """
CREATE TABLE ledger (id bigserial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE wide (id int PRIMARY KEY, filling text);
INSERT INTO wide SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n;
CREATE INDEX wide_filling ON wide (md5(filling));
CREATE TABLE keyless (n int);
INSERT INTO keyless SELECT generate_series(1, 1000);
SELECT lo_from_bytea(77, 'large');
"""


def battery(cuts: int, seed: str) -> Outcome:
    chance, found = random.Random(f"{seed}-migration"), Outcome("cuts of an online migration", cuts)
    wanted = list(itertools.product(TARGETS, PHASES))
    chance.shuffle(wanted)
    with (
        _source() as source,
        service(*WITHOUT_LIMITS, clusters=cuts + 2) as running,
        running.client() as client,
    ):
        for number in range(cuts):
            target, phase = wanted[number % len(wanted)]
            began, cut = time.monotonic(), Cut(running, client, source, chance, number)
            problems = cut.run(target, phase)
            found.change.append(time.monotonic() - began)
            found.lost += [f"{target} while {phase}, {number}: {line}" for line in problems]
            print(
                f"cut {number}: {target} while {phase}, {cut.told}; {found.change[-1]:.1f} s"
                + "".join(f"; {line}" for line in problems),
                flush=True,
            )
    return found


@contextmanager
def _source() -> Iterator[PlainPostgres]:
    with plain_postgres() as source:
        source.run(f"CREATE DATABASE {DATABASE}")
        pgbench.initialize(source.uri(DATABASE))
        source.run(MORE, DATABASE)
        yield source


class Cut:
    """One migration into a cluster of its own, with one cut; ``told``: when, and how it has ended."""

    def __init__(
        self, running: Service, client: Client, source: PlainPostgres, chance: random.Random, number: int
    ) -> None:
        self._running, self._client, self._source, self._chance = running, client, source, chance
        self._cluster: Any = online_cluster(client, f"cut-{number}")
        self._migration = Migration(client, self._cluster["id"])
        self.told = ""

    def run(self, target: str, phase: str) -> list[str]:
        """Return what went wrong."""
        before = self._state()
        relay = DelayingRelay(self._source.port)
        try:
            with writing(self._source) as enough:
                self._migration.start(self._source, port=relay.port)
                if phase in ("syncing", "ending"):
                    self._migration.reaches("syncing", OVER_SECONDS)
                if phase == "ending":
                    enough.set()
                    time.sleep(0.2)
                    self._finish()
                if phase == "given up":
                    time.sleep(self._chance.uniform(0, COPYING_SECONDS))
                    self._migration.stop(discard=True)
                self._cut_at_random(target, phase, relay)
                if phase in ("copying", "syncing"):
                    self._settled("syncing")
            problems = self._judged(phase)
        except AssertionError as error:
            problems = [str(error)]
        finally:
            relay.close()
            self._client.request("DELETE", f"/v2/databases/{self._cluster['id']}")
        if not problems and self._state() != before:
            problems = [f"the source was {before} and is {self._state()}"]
        return problems

    def _cut_at_random(self, target: str, phase: str, relay: DelayingRelay) -> None:
        longest = {"copying": COPYING_SECONDS, "syncing": SYNCING_SECONDS}.get(phase, ENDING_SECONDS)
        moment = self._chance.uniform(0, longest)
        time.sleep(moment)
        at = self._migration.now()
        steps = ", ".join(one["step"] for one in at["cenote"]["databases"])
        self.told = f"after {moment:.2f} s at {at['status']} ({steps})"
        away = self._chance.uniform(0, AWAY_SECONDS)
        if target == "agent":
            agent = wait_until("there is an agent", 30, lambda: self._running.child("agent"))
            os.kill(agent or 0, signal.SIGKILL)
        elif target == "server":
            node = Layout(self._running.data_dir).node(UUID(self._cluster["id"]), "node-1")
            server = processes.find(node.server(Path()))
            assert server is not None, "there is no server"
            os.kill(server.pid, signal.SIGKILL)
        elif target == "connection":
            until = time.monotonic() + away
            while time.monotonic() < until:
                relay.cut()
                time.sleep(0.05)
        else:
            self._source.kill()
            time.sleep(away)
            self._source.start()

    def _finish(self) -> None:
        path = f"{self._migration.path}/{self._migration.id}/finish"
        self._client.request("POST", path)

    def _settled(self, *wanted: str) -> Any:
        """Return the migration once it has one of these statuses, or has ended."""

        def settled() -> Any:
            found = self._migration.now()
            return found if found["status"] in (*wanted, *ENDS) else None

        return wait_until(f"the migration is {' or '.join(wanted)}", OVER_SECONDS, settled)

    def _judged(self, phase: str) -> list[str]:
        if phase != "given up" and self._migration.now()["status"] == "syncing":
            with contextlib.suppress(Exception):
                self._finish()
        found = self._settled()
        status, reason = found["status"], found["cenote"]["reason"]
        self.told += f", then {status} {reason}".rstrip()
        problems = [line for line in found["cenote"]["warnings"] if "could not be cleaned" in line]
        here = uri_of(self._cluster, "defaultdb")
        there = rows(here, "SELECT FROM pg_database WHERE datname = %s", DATABASE)
        if status == "done":
            problems += self._compared()
        elif there:
            problems.append(f"it is {status}, and the database is here")
        if status == "error":
            problems.append(f"it has failed: {reason}" if reason else "it has failed, and does not say why")
        if rows(here, "SELECT FROM pg_roles WHERE rolname = 'cenote_migration'"):
            problems.append("its role is left")
        return problems

    def _compared(self) -> list[str]:
        here, there = uri_of(self._cluster, DATABASE), self._source.uri(DATABASE)
        found, wanted = checksums(here), checksums(there)
        problems = [f"{name} differs" for name in sorted(wanted) if wanted[name] != found.get(name)]
        for query in (
            "SELECT last_value >= (SELECT max(id) FROM ledger) FROM ledger_id_seq",
            "SELECT convert_from(lo_get(77), 'UTF8')",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        ):
            if rows(here, query) != rows(there, query):
                problems.append(f"{query}: {rows(here, query)}")
        return problems

    def _state(self) -> list[Any]:
        return state(self._source, (DATABASE,))


@contextmanager
def writing(source: PlainPostgres) -> Iterator[threading.Event]:
    """A writer on the source, which connects again whenever it is cut off; set, the event ends it."""
    enough = threading.Event()

    def write() -> None:
        while not enough.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(source.uri(DATABASE), autocommit=True) as connection,
            ):
                while not enough.is_set():
                    connection.execute("INSERT INTO ledger DEFAULT VALUES")
                    connection.execute(
                        "UPDATE pgbench_accounts SET abalance = abalance + 1"
                        " WHERE aid = (SELECT 1 + max(id) % 1000 FROM ledger)"
                    )
                    enough.wait(0.01)
            enough.wait(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield enough
    finally:
        enough.set()
        writer.join()
