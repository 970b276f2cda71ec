"""The loss of the primary of three nodes, and of what it depends on, under 20 writers in its pools.

Each row that was acknowledged must be on the node that takes writes in the end, none may be acknowledged on a
timeline after a later one has begun, and all nodes have to follow again.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cenote_client import CenoteError
from faults import crowd, ledger, node_faults, standby_faults
from faults.ledger import Failure, Ledger, Row
from faults.node_faults import AFTER_SECONDS, Fault
from faults.outcome import Outcome
from faults.sampler import Sampler
from tests.support.fleet import fleet
from tests.support.fleet_network import NetworkFleet, network_fleet
from tests.support.small_disk import may_mount
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

WRITERS = 20
BEFORE_SECONDS = 2.0  # that writers work before a fault
RESUMED_SECONDS, HEALED_SECONDS = 60.0, 180.0
ROWS_AGAIN = 200

FAULTS: Mapping[str, Fault] = {
    **node_faults.FAULTS,
    **standby_faults.FAULTS,
    "crowd": crowd.crowd,
}
PARTITION = "partition"
NAMES = (*FAULTS, PARTITION)
# Each query is answered all the same, but for those through the pooler of a host that is lost.
NOTHING_FAILS = frozenset({"etcd", "rewritten", "standby", "standby_frozen", *standby_faults.FAULTS})
# With two nodes a standby is what commits wait for, until it counts as lost.
OF_A_PAIR = ("postmaster", "freeze", "standby_frozen", *standby_faults.FAULTS)


def batteries(names: Sequence[str], runs: int, seed: str) -> list[Outcome]:
    """Run these scenarios with three nodes, so often each."""
    chance = random.Random(f"{seed}-failover")
    known = chosen(names, NAMES)
    found: list[Outcome] = []
    wanted = [name for name in known if name != PARTITION]
    if wanted:
        with (
            fleet(3, joined=True, clusters=4, small_disks=may_mount()) as hosts,
            trio(hosts.hosts) as cluster,
        ):
            for name in wanted:
                found += _scenario(cluster, name, f"failover: {name}", runs, chance)
    if PARTITION in known:
        try:
            found.append(_partitions(runs, chance))
        except pytest.skip.Exception as why:
            print(f"failover: {PARTITION}: left out: {why}", flush=True)
    return found


def pairs(names: Sequence[str], runs: int, seed: str) -> list[Outcome]:
    """Run these scenarios with two nodes on two of three hosts, so often each."""
    chance = random.Random(f"{seed}-pair")
    known = chosen(names, OF_A_PAIR)
    found: list[Outcome] = []
    with (
        fleet(3, joined=True, clusters=4, small_disks=may_mount()) as hosts,
        trio(hosts.hosts, nodes=2) as cluster,
    ):
        for name in known:
            found += _scenario(cluster, name, f"two nodes: {name}", runs, chance)
    return found


def chosen(names: Sequence[str], there_are: Sequence[str]) -> Sequence[str]:
    """Return these scenarios, or all."""
    unknown = [name for name in names if name not in there_are]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(there_are)}")
    return names or there_are


def _scenario(cluster: Trio, name: str, label: str, runs: int, chance: random.Random) -> list[Outcome]:
    if name in standby_faults.NEED_MOUNTS and not may_mount():
        print(f"{label}: left out, since file systems cannot be mounted here", flush=True)
        return []
    battery = Battery(cluster, Outcome(label))
    with battery.writing():
        for number in range(1, runs + 1):
            battery.run(f"{name} {number}", FAULTS[name], chance, nothing_fails=name in NOTHING_FAILS)
    return [battery.outcome]


def _partitions(runs: int, chance: random.Random) -> Outcome:
    with network_fleet(3) as hosts, hosts.network.visit(), trio(hosts.hosts) as cluster:
        battery = Battery(cluster, Outcome("failover: partition"))
        with battery.writing(hosts):
            for number in range(1, runs + 1):
                battery.run(f"partition {number}", partition_of(hosts), chance)
        return battery.outcome


def partition_of(hosts: NetworkFleet) -> Fault:
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
                both = zip(self._cluster.places, self._cluster.uris, strict=True)
                for position, (host, uri) in enumerate(both):
                    writers = range(position * share, (position + 1) * share)
                    place = hosts.network.inside(host.number)
                    beside = ledger.writing(file.with_suffix(f".{host.number}"), writers, [uri], place)
                    self._ledgers.append(stack.enter_context(beside))
            with sampler.sampling():
                yield
            time.sleep(1)
            rows, failures = self._read()
            self._judge(rows, failures)
        self.outcome.lost += sampler.doubles
        self.outcome.figures |= sampler.figures()

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
        except (AssertionError, CenoteError, psycopg.Error) as error:
            outcome.lost.append(f"{label}: {error}")
            print(f"{label}: {error}", flush=True)

    def _host_of(self, writer: int) -> int:
        """Return the number, from 0, of the host whose pooler a writer uses."""
        places = self._cluster.places
        position = writer // (WRITERS // len(places)) if len(self._ledgers) > 1 else writer % len(places)
        return self._cluster.hosts.index(places[position])

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
