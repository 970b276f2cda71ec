"""A host with clusters is lost, or cut off, under load, and they are recovered on another one from backups.

What is missing then is to be what was not archived yet, and nothing else: the rows that are there are those
before a moment, and that is not before the last archived segment.  When the host is back its copies are to be
stopped and in the trash, and nothing of them in the archive.  Hosts take turns.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from cenote.host import trash
from cenote.model.paths import Layout
from cenote_client import BusyError, Client
from faults.outcome import Outcome
from tests.support.fleet import FleetHost
from tests.support.recovery import BackedUp, backed_up, backed_up_fleet, cut_off, go_on, kept
from tests.support.waiting import wait_until

LONGEST = 300  # seconds
PAUSE = 0.01  # seconds between two rows of a writer
SWITCH = 2.0  # seconds between two segments, which PostgreSQL begins each minute by itself
ONLINE, MISSING = "online, s", "missing, s"


@dataclass
class Ledger:
    """Rows that a writer has sent and that were acknowledged, in their order, with the time of each."""

    one: BackedUp
    uri: str
    acknowledged: list[tuple[int, float]] = field(default_factory=list)
    switched: list[tuple[str, int]] = field(
        default_factory=list
    )  # a segment, and the last row before its end
    last: int = 0  # that was sent
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        while not self.ended.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(self.uri, autocommit=True) as connection:
                while not self.ended.is_set():
                    self.last += 1
                    connection.execute("INSERT INTO kept VALUES (%s)", (self.last,))
                    self.acknowledged.append((self.last, time.time()))
                    time.sleep(PAUSE)
            time.sleep(PAUSE)

    def switch(self, host: FleetHost) -> None:
        """Begin another segment now and again."""
        while not self.ended.wait(SWITCH):
            with contextlib.suppress(psycopg.Error, ValueError):
                before = self.acknowledged[-1][0] if self.acknowledged else 0
                self.switched.append((self.one.switch(host), before))

    def archived_until(self) -> int:
        """Return the last row that is known to be in the archive."""
        there = self.one.archived()
        return max((row for segment, row in self.switched if segment in there), default=0)


@contextlib.contextmanager
def writing(ledgers: list[Ledger], host: FleetHost) -> Iterator[None]:
    threads = [threading.Thread(target=one.write) for one in ledgers]
    threads += [threading.Thread(target=one.switch, args=(host,)) for one in ledgers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in ledgers:
            one.ended.set()
        for thread in threads:
            thread.join()


def battery(times: int, clusters: int, seed: str) -> Outcome:
    """Lose the host with so many clusters so many times; every other time it is only cut off."""
    chance = random.Random(f"{seed}-recover")
    outcome = Outcome(f"recovery of {clusters} clusters")
    seconds: dict[str, list[float]] = {ONLINE: [], MISSING: []}
    with backed_up_fleet(2) as (hosts, repository):
        here, there = hosts.hosts
        with here.client() as client:
            made = [
                backed_up(client, repository, f"lost-{number}", cenote={"host": here.name})
                for number in range(clusters)
            ]
        for number in range(times):
            _round(made, here, there, chance, outcome, seconds, frozen=bool(number % 2))
            outcome.times += 1
            here, there = there, here
    for what, found in seconds.items():
        if found:
            found.sort()
            outcome.figures[f"{what}: median"] = found[len(found) // 2]
            outcome.figures[f"{what}: most"] = found[-1]
    return outcome


def _round(
    made: list[BackedUp],
    here: FleetHost,
    there: FleetHost,
    chance: random.Random,
    outcome: Outcome,
    seconds: dict[str, list[float]],
    *,
    frozen: bool,
) -> None:
    with there.client() as client:
        ledgers = [_ledger(client, one) for one in made]
        with writing(ledgers, here):
            time.sleep(chance.uniform(3 * SWITCH, 6 * SWITCH))
            stopped = cut_off(here) if frozen else []
            if not frozen:
                here.lose()
            lost_at = time.time()
            wait_until("the host is down", LONGEST, lambda: _may_begin(client, made[0].id))
            until, timelines = [one.archived_until() for one in ledgers], [_timeline(one) for one in made]
            began = time.monotonic()
            for one in made:
                client.databases.recover_cluster(one.id)
            for one in made:
                wait_until(f"{one.id} is back", LONGEST, lambda id=one.id: _works(client, id))  # type: ignore[misc]
            outcome.change.append(time.monotonic() - began)
            seconds[ONLINE].append(outcome.change[-1])
            if frozen:
                time.sleep(2 * SWITCH)  # their servers go on, and try to archive
        for one, former in zip(made, timelines, strict=True):
            wait_until("it archives", LONGEST, lambda one=one, former=former: _timeline(one) > former)  # type: ignore[misc]
        before = [_former(one) for one in made]
        for ledger, known in zip(ledgers, until, strict=True):
            _compare(client, ledger, known, lost_at, outcome, seconds)
        if frozen:
            go_on(stopped)
        else:
            here.start()
        wait_until("its copies are put away", LONGEST, lambda: _is_left(here, made))
        time.sleep(SWITCH)
        for one, archive in zip(made, before, strict=True):
            if late := _former(one) - archive:
                outcome.orphans.append(f"{one.id}: archived by the former host: {sorted(late)[:3]}")


def _ledger(client: Client, one: BackedUp) -> Ledger:
    uri = client.databases.get_cluster(one.id)["database"]["connection"]["uri"]
    return Ledger(one, uri, last=max(kept(uri), default=0))


def _may_begin(client: Client, id: str) -> Any:
    with contextlib.suppress(BusyError):
        return client.databases.get_recovery(id)
    return None


def _works(client: Client, id: str) -> bool:
    found: Any = client.databases.get_cluster(id)["database"]
    return bool(found["status"] == "online" and found["cenote"]["health"] == "healthy")


def _timeline(one: BackedUp) -> str:
    """Return the newest timeline in the archive."""
    histories = one.repository.glob(f"archive/{one.id}/*/*.history")
    return max(name[:8] for name in (*one.archived(), *(path.name for path in histories)))


def _former(one: BackedUp) -> set[str]:
    """Return the segments in the archive that are of no living timeline."""
    newest = _timeline(one)
    return {name for name in one.archived() if name[:8] != newest and not name.endswith("history")}


def _compare(
    client: Client,
    ledger: Ledger,
    known: int,
    lost_at: float,
    outcome: Outcome,
    seconds: dict[str, list[float]],
) -> None:
    """Compare what is there with what was acknowledged."""
    id = ledger.one.id
    uri = client.databases.get_cluster(id)["database"]["connection"]["uri"]
    found = set(kept(uri))
    end = max(found)
    outcome.answered += len(ledger.acknowledged)
    missing = [row for row, _ in ledger.acknowledged if row <= end and row not in found]
    if missing:
        outcome.lost.append(f"{id}: rows before the end are missing: {missing[:5]}")
    if end < known:
        outcome.lost.append(f"{id}: it ends at row {end}, and row {known} was archived")
    late = [at for row, at in ledger.acknowledged if row > end]
    if late:
        seconds[MISSING].append(max(0.0, lost_at - min(late)))


def _is_left(host: FleetHost, made: list[BackedUp]) -> bool:
    """Return whether nothing of the clusters runs or lies on a host but in its trash."""
    in_trash = {str(entry.note.cluster) for entry in trash.entries(Layout(host.data_dir)) if entry.note}
    return not list(host.data_dir.glob("clusters/*")) and in_trash >= {one.id for one in made}
