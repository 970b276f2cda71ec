"""A cluster grows from one node to three and shrinks to two and one, under 20 writers in its pool.

No query may fail, and what is shown is one node fewer only when nothing of it is left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from faults.failover import Battery
from faults.outcome import Outcome
from tests.support.fleet import fleet
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

COUNTS = (3, 2, 1)
LONGEST = 240.0  # seconds of one step


def batteries(runs: int, seed: str) -> list[Outcome]:
    """Go from one node to three, to two and to one so often."""
    chance = random.Random(f"{seed}-scale")
    with fleet(3, joined=True, clusters=4) as hosts, trio(hosts.hosts, nodes=1) as cluster:
        battery = Battery(cluster, Outcome("1 node, 3, 2, 1"))
        with battery.writing():
            for number in range(1, runs + 1):
                battery.run(f"1, 3, 2, 1 nodes {number}", resized, chance, nothing_fails=True)
        del battery.outcome.figures["seconds without quorum"]  # one node waits for none
        return [battery.outcome]


@contextmanager
def resized(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    for count in COUNTS:
        cluster.resize(nodes=count)
        wait_until(f"there are {count} nodes", LONGEST, lambda: _has(cluster, count))  # noqa: B023
        cluster.wait_until_healthy(LONGEST)
    yield None


def _has(cluster: Trio, count: int) -> bool:
    found = cluster.shown()
    return bool(found["num_nodes"] == count == 1 + len(cluster.standbys()) and found["status"] == "online")
