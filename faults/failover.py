"""The loss of the primary of three nodes, and of what it depends on, under 20 writers in its pools.

Each row that was acknowledged must be on the node that takes writes in the end, none may be acknowledged on a
timeline after a later one has begun, and all nodes have to follow again.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cenote.store.process import PrivateEtcd
from faults import ledger
from faults.ledger import Failure, Ledger, Row
from faults.outcome import Outcome
from tests.support.fleet import fleet
from tests.support.fleet_network import NetworkFleet, network_fleet
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

WRITERS = 20
BEFORE_SECONDS, AFTER_SECONDS = 2.0, 3.0  # that writers work before a fault and after it
ETCD_SECONDS = FROZEN_SECONDS = 30.0
RESUMED_SECONDS, HEALED_SECONDS = 60.0, 180.0
QUORUM_SECONDS = 5.0
ROWS_AGAIN = 200

# What is done to a cluster, and ends when writes have gone on or the block is left.
# It yields the number of the host, from 0, whose own pooler cannot be reached or is alone, if there is one.
Fault = Callable[[Trio, random.Random], contextlib.AbstractContextManager[int | None]]


@contextmanager
def postmaster(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    cluster.kill(cluster.primary())
    yield None


@contextmanager
def host(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Lose the primary's host: all of its processes at once; it is back once writes have gone on."""
    lost = cluster.host(cluster.primary())
    lost.lose()
    yield cluster.hosts.index(lost)
    lost.start()


@contextmanager
def standby(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    lost = cluster.host(chance.choice(cluster.standbys()))
    lost.lose()
    yield cluster.hosts.index(lost)
    time.sleep(AFTER_SECONDS)
    lost.start()


@contextmanager
def freeze(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Stop the primary's PostgreSQL and Patroni as a machine that is paused, until writes have gone on."""
    with _stopped(cluster.all_of(cluster.primary())):
        yield None


@contextmanager
def standby_frozen(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    with _stopped(cluster.all_of(chance.choice(cluster.standbys()))):
        yield None
        time.sleep(FROZEN_SECONDS)


@contextmanager
def etcd(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Stop all members of the store for a while; writes go on."""
    pids = [PrivateEtcd(one.data_dir / "etcd").pid for one in cluster.hosts]
    with _stopped([pid for pid in pids if pid is not None]):
        yield None
        time.sleep(ETCD_SECONDS)


@contextmanager
def rewritten(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    """Have somebody end the waiting for standbys, by ``ALTER SYSTEM`` or in ``postgresql.conf``."""
    primary = cluster.primary()
    if chance.random() < 0.5:
        cluster.rows(primary, "ALTER SYSTEM SET synchronous_standby_names = ''")
    else:
        path = cluster.paths(primary).data / "postgresql.conf"
        kept = [line for line in path.read_text().splitlines() if "synchronous_standby_names" not in line]
        path.write_text("\n".join(kept) + "\n")
    cluster.rows(primary, "SELECT pg_reload_conf()")
    time.sleep(0.5)
    wait_until("commits wait for standbys again", QUORUM_SECONDS, lambda: cluster.quorum() > 0)
    yield None


FAULTS: dict[str, Fault] = {
    "postmaster": postmaster,
    "host": host,
    "freeze": freeze,
    "etcd": etcd,
    "standby": standby,
    "standby_frozen": standby_frozen,
    "rewritten": rewritten,
}
PARTITION, RANDOM = "partition", "random"
NAMES = (*FAULTS, PARTITION, RANDOM)
NOTHING_FAILS = frozenset({"etcd", "rewritten"})  # each query is answered all the same


def batteries(names: Sequence[str], runs: int, seed: str) -> list[Outcome]:
    """Run these scenarios so often each; for ``random``, so many faults one after another."""
    chance = random.Random(f"{seed}-failover")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    found: list[Outcome] = []
    wanted = [name for name in names or NAMES if name != PARTITION]
    if wanted:
        with fleet(3, joined=True, clusters=4) as hosts, trio(hosts.hosts) as cluster:
            for name in wanted:
                found.append(_scenario(cluster, name, runs, chance))
    if PARTITION in (names or NAMES):
        with contextlib.suppress(pytest.skip.Exception):  # namespaces need root
            found.append(_partitions(runs, chance))
    return found


def _scenario(cluster: Trio, name: str, runs: int, chance: random.Random) -> Outcome:
    battery = Battery(cluster, Outcome(f"failover: {name}"))
    with battery.writing():
        for number in range(1, runs + 1):
            chosen = name if name != RANDOM else chance.choice(sorted(FAULTS))
            battery.run(f"{chosen} {number}", FAULTS[chosen], chance, nothing_fails=chosen in NOTHING_FAILS)
    return battery.outcome


def _partitions(runs: int, chance: random.Random) -> Outcome:
    with network_fleet(3) as hosts, hosts.network.visit(), trio(hosts.hosts) as cluster:
        battery = Battery(cluster, Outcome("failover: partition"))
        with battery.writing(hosts):
            for number in range(1, runs + 1):
                battery.run(f"partition {number}", _partition_of(hosts), chance)
        return battery.outcome


def _partition_of(hosts: NetworkFleet) -> Fault:
    @contextmanager
    def partition(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
        """Cut the primary's host off the network, until writes have gone on elsewhere."""
        number = cluster.host(cluster.primary()).number
        hosts.network.cut_off(number)
        try:
            yield number - 1
            time.sleep(AFTER_SECONDS)
        finally:
            hosts.network.heal(number)

    return partition


@contextmanager
def _stopped(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class Battery:
    """Faults of one kind, one after another, and what was seen of them.

    ``answer`` of the outcome are the longest times without an acknowledged row of any writer; ``change`` are
    the seconds until all nodes followed again.
    """

    def __init__(self, cluster: Trio, outcome: Outcome) -> None:
        self._cluster, self.outcome = cluster, outcome
        self._ledgers: list[Ledger] = []
        self._failed: list[int] = []

    @contextmanager
    def writing(self, hosts: NetworkFleet | None = None) -> Iterator[None]:
        """Keep the writers at work; in a network some stand beside each host, and use its pooler."""
        sampler = Sampler(self._cluster)
        self._cluster.on_primary("TRUNCATE ledger", database="defaultdb")
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            file = Path(folder) / "ledger"
            if hosts is None:
                self._ledgers.append(
                    stack.enter_context(ledger.writing(file, range(WRITERS), self._cluster.uris))
                )
            else:
                share = WRITERS // len(hosts.hosts)
                for number, uri in enumerate(self._cluster.uris, 1):
                    writers = range((number - 1) * share, number * share)
                    place = hosts.network.inside(number)
                    beside = ledger.writing(file.with_suffix(f".{number}"), writers, [uri], place)
                    self._ledgers.append(stack.enter_context(beside))
            with sampler.sampling():
                yield
            time.sleep(1)
            rows, failures = self._read()
            self._judge(rows, failures)
        self.outcome.figures["seconds without quorum"] = sampler.without_quorum
        self.outcome.figures["seconds without an answer on quorum"] = sampler.unknown

    def run(self, label: str, fault: Fault, chance: random.Random, *, nothing_fails: bool = False) -> None:
        cluster, outcome = self._cluster, self.outcome
        try:
            cluster.wait_until_healthy()
            self._more_rows()
            time.sleep(BEFORE_SECONDS)
            at = time.monotonic()
            with fault(cluster, chance) as apart:
                self._more_rows()
            self._more_rows()
            cluster.wait_until_healthy(HEALED_SECONDS)
            outcome.change.append(time.monotonic() - at)
            time.sleep(AFTER_SECONDS)
            rows, failures = self._read()
            gap = ledger.longest_gap(rows, at - BEFORE_SECONDS, time.monotonic())
            after = [one for one in failures if one.at >= at]
            failed = [one for one in after if self._host_of(one.writer) != apart]
            outcome.answer.append(gap)
            outcome.times += 1
            self._failed.append(len(failed))
            others = f", {len(after) - len(failed)} through the lost host" if apart is not None else ""
            print(f"{label}: gap {gap:.2f} s, {len(failed)} failed{others}", flush=True)
            if nothing_fails and failed:
                outcome.lost.append(f"{label}: {len(failed)} queries failed: {failed[0].why}")
        except AssertionError as error:
            outcome.lost.append(f"{label}: {error}")
            print(f"{label}: {error}", flush=True)

    def _host_of(self, writer: int) -> int:
        """Return the number, from 0, of the host whose pooler a writer uses."""
        count = len(self._cluster.hosts)
        return writer // (WRITERS // count) if len(self._ledgers) > 1 else writer % count

    def _more_rows(self) -> None:
        before = len(self._read()[0])
        wait_until("rows are written", RESUMED_SECONDS, lambda: len(self._read()[0]) > before + ROWS_AGAIN)

    def _read(self) -> tuple[list[Row], list[Failure]]:
        rows, failures = [], []
        for one in self._ledgers:
            found = one.read()
            rows += found[0]
            failures += found[1]
        return rows, failures

    def _judge(self, rows: Sequence[Row], failures: Sequence[Failure]) -> None:
        outcome = self.outcome
        query = "SELECT writer, number FROM ledger"
        kept = set(self._cluster.on_primary(query, database="defaultdb"))
        lost = [row for row in rows if (row.writer, row.number) not in kept]
        outcome.lost += [f"row {row.number} of writer {row.writer}, timeline {row.timeline}" for row in lost]
        both = ledger.on_two_timelines(rows)
        outcome.lost += [f"row {row.number} of writer {row.writer} on a former timeline" for row in both]
        crowded = [one for one in failures if "too many" in one.why]
        outcome.lost += [one.why for one in crowded]
        outcome.answered, outcome.torn = len(rows), len(failures)
        outcome.figures["rows lost"] = float(len(lost))
        outcome.figures["rows on two timelines"] = float(len(both))
        if self._failed:
            outcome.figures["failed in a run, median"] = float(statistics.median(self._failed))
            outcome.figures["failed in a run, worst"] = float(max(self._failed))


class Sampler:
    """Counts the seconds in which commits of the primary waited for no standby."""

    def __init__(self, cluster: Trio) -> None:
        self._cluster = cluster
        self.without_quorum = self.unknown = 0.0

    @contextmanager
    def sampling(self) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._sample, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(1.0):
            counts = [self._of(host.data_dir) for host in self._cluster.hosts]
            known = [count for count in counts if count is not None]
            if not known:
                self.unknown += 1
            elif not any(known):
                self.without_quorum += 1

    def _of(self, data_dir: Path) -> int | None:
        """Return how many standbys the primary of a host waits for; None where none takes writes."""
        query = b"""
        SELECT count(*) FILTER (WHERE sync_state = 'quorum')::int FROM pg_stat_replication
        HAVING NOT pg_is_in_recovery()
        """
        for socket in (data_dir / "run").glob("*/.s.PGSQL.*"):
            port = socket.suffix.removeprefix(".")
            with (
                contextlib.suppress(psycopg.Error, ValueError),
                psycopg.connect(
                    host=str(socket.parent),
                    port=int(port),
                    user="postgres",
                    dbname="postgres",
                    connect_timeout=2,
                ) as connection,
            ):
                row = connection.execute(query).fetchone()
                if row is not None:
                    return int(row[0])
        return None
