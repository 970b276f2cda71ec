"""``kill -9`` of one of the service's processes at any moment, while customers make calls.

What was answered must be there afterwards, what was not is whole or absent, and nothing is left over.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx

from cenote.host import processes, system
from faults.outcome import Outcome
from faults.probe import Probe
from tests.support.customer import Customer
from tests.support.service import WITHOUT_LIMITS, Service, calling, online_cluster, service
from tests.support.service_processes import members, strangers
from tests.support.waiting import wait_until

WHOLE = ("service", "supervisor")  # whose end is the end of the service
TARGETS = ("supervisor", "api", "agent", "etcd")
CUSTOMERS = 4
MOST_ANSWERS = 8  # of all customers, before a kill
LONGEST = 0.2  # seconds between the last of them and the kill
OF_STARTS = 0.2  # the part of the starts that is killed, too
LONGEST_START = 1.0  # seconds of a start before that
CHECK_EVERY = 10  # kills between two checks of everything that was answered


def battery(target: str, kills: int, seed: str) -> Outcome:
    """Kill one of the service's processes so many times; none, where it is not a process of its own.

    ``supervisor`` is the whole service where that is one process.
    """
    with service(*WITHOUT_LIMITS) as running:
        started = Battery(running, target, seed)
        return started.run(kills) if started.has_target else started.outcome


class Battery:
    def __init__(self, running: Service, target: str, seed: str) -> None:
        self._running = running
        names = members(running)
        self._target = "service" if target == "supervisor" and "service" in names else target
        self._chance = random.Random(f"{seed}-{target}")
        self._seed = seed
        self.outcome = Outcome(f"kill -9 {target}")

    @property
    def has_target(self) -> bool:
        return self._target in members(self._running)

    def run(self, kills: int) -> Outcome:
        running = self._running
        with (
            running.client() as client,
            calling(running) as http,
            ThreadPoolExecutor(CUSTOMERS) as threads,
        ):
            probed = online_cluster(client, "probed")["id"]
            probe = Probe(http, probed)
            customers = [
                Customer(f"customer-{n}", http, random.Random(f"{self._seed}-{n}")) for n in range(CUSTOMERS)
            ]
            for number in range(1, kills + 1):
                self._kill_under_calls(threads, customers, probe)
                self._lost(customers, Customer.settle)
                if number % CHECK_EVERY == 0 or number == kills:
                    self._lost(customers, Customer.check)
                known = {customer.known.id for customer in customers if customer.known is not None}
                self._left_over({probed, *known})
                self.outcome.times += 1
            for id in (probed, *known):
                assert http.delete(f"/v2/databases/{id}").status_code == 204
            self._left_over(set())
            self.outcome.answered = sum(customer.answered for customer in customers)
            self.outcome.torn = sum(customer.torn for customer in customers)
            return self.outcome

    def _kill_under_calls(self, threads: ThreadPoolExecutor, customers: list[Customer], probe: Probe) -> None:
        """Kill the process while customers make calls, and measure how long the service is away."""
        enough = threading.Event()
        before = sum(customer.answered for customer in customers)
        working = [threads.submit(customer.work, enough) for customer in customers]
        try:
            wanted = before + self._chance.randrange(MOST_ANSWERS)
            wait_until(
                f"{wanted} requests are answered",
                60,
                lambda: sum(customer.answered for customer in customers) >= wanted,
            )
            time.sleep(self._chance.uniform(0, LONGEST))  # the moment is the random point
            killed_at = self._kill()
        finally:
            enough.set()
        probe.answer()
        self.outcome.answer.append(time.monotonic() - killed_at)
        remove_pool = probe.change()
        self.outcome.change.append(time.monotonic() - killed_at)
        remove_pool()
        for customer, work in zip(customers, working, strict=True):
            self._note(customer, work.result)

    def _kill(self) -> float:
        """Kill it, start the service again if that was the end of it, and return when it was killed."""
        running = self._running
        if self._target not in WHOLE:
            os.kill(wait_until(f"there is the {self._target}", 60, self._pid), signal.SIGKILL)
            return time.monotonic()
        running.end(signal.SIGKILL)
        if self._chance.random() < OF_STARTS:
            running.launch()
            time.sleep(self._chance.uniform(0, LONGEST_START))
            running.end(signal.SIGKILL)
        killed_at = time.monotonic()
        running.launch()
        return killed_at

    def _pid(self) -> int:
        return members(self._running).get(self._target, 0)

    def _lost(self, customers: list[Customer], check: Callable[[Customer], None]) -> None:
        """Note what a check of the customers says that is not as it was answered."""
        for customer in customers:
            self._note(customer, functools.partial(check, customer))

    def _note(self, customer: Customer, step: Callable[[], None]) -> None:
        try:
            step()
        except (AssertionError, httpx.HTTPError) as error:
            self.outcome.lost.append(f"kill {self.outcome.times + 1}, {customer.name}: {error}")
            customer.accept()

    def _left_over(self, known: set[str]) -> None:
        """Note what is there and should not be, or the other way round."""
        try:
            wait_until(
                f"there is what {known} take, and no more",
                30,
                lambda: not (surplus(self._running, known) or strangers(self._running)),
            )
        except AssertionError:
            found = surplus(self._running, known) + strangers(self._running)
            self.outcome.orphans += [f"kill {self.outcome.times + 1}: {line}" for line in found]


def surplus(running: Service, known: set[str]) -> list[str]:
    """Return the folders, ports and poolers that are there and should not be, or the other way round."""
    clusters, sockets = running.data_dir / "clusters", running.data_dir / "run"
    expected = {*known, *(UUID(id).hex[:12] for id in known)}
    found = {path.name for folder in (clusters, sockets) for path in folder.glob("*")}
    ports = system.listening_ports() & set(range(running.first_port, running.api_port))
    poolers = [len(processes.below(clusters / id / "pgbouncer")) for id in known]
    return [
        *(found ^ expected),
        *([f"ports {sorted(ports)}"] if len(ports) != 3 * len(known) else []),
        *(f"{count} poolers" for count in poolers if count != 1),
    ]
