"""``kill -9`` of the service at any moment: what was answered stays, what was not is whole or gone."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from cenote.host import processes, system
from tests.support.customer import Customer
from tests.support.service import WITHOUT_LIMITS, Service, calling, service
from tests.support.waiting import wait_until

KILLS = 20
CUSTOMERS = 3
MOST_ANSWERS = 8  # of all customers, before a kill
LONGEST_START = 1.0  # seconds of a start before a kill
LONGEST = 0.2  # seconds between the last of them and the kill


def test_nothing_that_was_answered_is_lost_and_nothing_is_left_over() -> None:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to work through the same wishes again: CENOTE_TEST_SEED={seed}")
    chance = random.Random(seed)
    with service(*WITHOUT_LIMITS) as running, calling(running) as http, ThreadPoolExecutor() as threads:
        customers = [Customer(f"customer-{n}", http, random.Random(f"{seed}-{n}")) for n in range(CUSTOMERS)]
        for _ in range(KILLS):
            enough = threading.Event()
            working = [threads.submit(customer.work, enough) for customer in customers]
            try:
                answered = sum(customer.answered for customer in customers) + chance.randrange(MOST_ANSWERS)
                wait_until(
                    f"{answered} requests are answered",
                    60,
                    lambda: sum(customer.answered for customer in customers) >= answered,  # noqa: B023
                )
                time.sleep(chance.uniform(0, LONGEST))  # the moment is the random point
                running.end(signal.SIGKILL)
            finally:
                enough.set()
            for work in working:
                work.result()
            if chance.random() < 0.2:
                running.launch()
                time.sleep(chance.uniform(0, LONGEST_START))
                running.end(signal.SIGKILL)
            running.start()
            list(threads.map(Customer.settle, customers))
            list(threads.map(Customer.check, customers))
            known = {customer.known.id for customer in customers if customer.known is not None}
            wait_until(f"there is what {known} take, and no more", 30, lambda: not surplus(running, known))  # noqa: B023

        print(f"requests answered, torn: {[(customer.answered, customer.torn) for customer in customers]}")
        assert all(customer.answered > 0 for customer in customers)
        assert any(customer.torn > 0 for customer in customers)
        for id in known:
            assert http.delete(f"/v2/databases/{id}").status_code == 204
        wait_until("nothing is left", 30, lambda: not running.remains() and not surplus(running, set()))


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
