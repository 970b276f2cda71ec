"""Power cuts: everything ends in the middle of changes, and files lose what was not on disk.

Any file of ours may be hit but the keys, which are on disk before anything rests on them.  PostgreSQL's and
etcd's own files are not: they have them on disk before they rely on them.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from faults.outcome import Outcome
from tests.support.power import LASTING, Machine
from tests.support.service import (
    WITHOUT_LIMITS,
    Service,
    added_pool,
    calling,
    online_cluster,
    service,
    tried,
)
from tests.support.waiting import wait_until

CLUSTERS, POOLS = 2, 3
HIT = 0.4  # the part of the files that lose their content
LONGEST = 0.5  # seconds of changes before a cut


def battery(cuts: int, seed: str) -> Outcome:
    """Cut the power so many times; lost is each pool that does not answer within a minute afterwards."""
    chance, outcome = random.Random(f"{seed}-power"), Outcome("power cut")
    with service(*WITHOUT_LIMITS) as running:
        uris, id = _pools(running)
        machine = Machine(running)
        for number in range(1, cuts + 1):
            outcome.answered += _change_until_cut(running, machine, id, chance)
            for path in machine.files():
                if machine.name(path) not in LASTING and chance.random() < HIT:
                    machine.empty(path)
            began = time.monotonic()
            machine.on()
            with running.client() as client:
                client.databases.list_options()
            outcome.answer.append(time.monotonic() - began)
            outcome.lost += [f"cut {number}: {line}" for line in _dead(uris)]
            outcome.change.append(time.monotonic() - began)
            outcome.times += 1
    return outcome


def _pools(running: Service) -> tuple[list[str], str]:
    """Return the URIs of pools of some clusters, and the id of the last cluster."""
    uris, id = [], ""
    with running.client() as client:
        for number in range(CLUSTERS):
            id = online_cluster(client, f"cluster-{number}")["id"]
            made = [added_pool(client, id, f"pool-{count}") for count in range(POOLS)]
            uris += [pool["connection"]["uri"] for pool in made]
    return uris, id


def _change_until_cut(running: Service, machine: Machine, id: str, chance: random.Random) -> int:
    """Have a customer change things until the power goes off; return how many changes were answered."""
    ended = threading.Event()
    path = f"/v2/databases/{id}/pools"
    body = {"name": "coming", "mode": "transaction", "size": 1, "db": "defaultdb", "user": "doadmin"}

    def change() -> int:
        count = 0
        with calling(running) as http:
            while not ended.is_set():
                try:
                    http.post(path, json=body)
                    http.delete(f"{path}/coming")
                    count += 2
                except httpx.HTTPError:
                    pass
        return count

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(change)
        time.sleep(chance.uniform(0, LONGEST))  # the moment is the random point
        machine.off()
        ended.set()
        return working.result()


def _dead(uris: Sequence[str]) -> list[str]:
    """Return the pools that do not answer within a minute, in words."""
    dead = []
    for uri in uris:
        try:
            wait_until("the pool answers", 60, functools.partial(is_answering, uri))
        except AssertionError:
            dead.append(f"no answer from {uri.partition('@')[2]}")
    return dead


def is_answering(uri: str) -> bool:
    return bool(tried(uri) == 42)
