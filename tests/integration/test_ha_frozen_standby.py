"""A standby of three that is away for long: clients of the primary notice nothing, and it follows again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from cenote.host import processes
from cenote.model.paths import NodePaths
from cenote_client import Client
from tests.support.service import Service, added_pool, service
from tests.support.several_nodes import (
    SECONDS,
    node,
    on_node,
    patroni,
    reason,
    settled,
    several,
    writer,
    writing,
)
from tests.support.waiting import wait_until

KEPT = 64  # MiB of WAL for slots
SEGMENTS = 24  # of 16 MiB, more than is kept for any standby
TEXT = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 8000000))"


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Service) -> Iterator[Client]:
    with running.client() as created:
        yield created


def test_the_slot_of_a_frozen_standby_gives_up_and_its_data_are_copied_anew(
    running: Service, client: Client
) -> None:
    """Neither does a checkpoint of the primary wait for the standby, which would keep all WAL, too."""
    cluster = several(client, "frozen", 3)
    path = f"/v2/databases/{cluster['id']}/config"
    client.request("PATCH", path, json={"config": {"max_slot_wal_keep_size": KEPT}})
    settled(client, cluster["id"])
    first = wait_until("a node takes writes", SECONDS, lambda: writer(running, cluster, 1, 2, 3)) or 0
    number = next(other for other in (1, 2, 3) if other != first)
    place, agent = node(running, cluster, number), patroni(running, cluster, number)
    assert agent is not None
    before = place.data.stat().st_ino
    pids = [agent.pid, *(one.pid for one in processes.below(place.data))]
    slot = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'node_{number}'"

    def given_up() -> bool:
        on_node(running, cluster, first, "CHECKPOINT")  # each gives up slots that no sender uses any more
        return on_node(running, cluster, first, slot) in ([], [("lost",)])

    with writing(added_pool(client, cluster["id"], "app")["connection"]["uri"]) as ledger:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(SEGMENTS):
                on_node(running, cluster, first, TEXT)
                on_node(running, cluster, first, "SELECT pg_switch_wal()")
            wait_until("the slot gives up", SECONDS, given_up)
            wait_until("it is told", SECONDS, lambda: f"node-{number}" in reason(client, cluster))
            ledger.goes_on()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        wait_until("its data are copied anew", SECONDS, lambda: inode(place) not in (0, before))
        settled(client, cluster["id"])
    assert ledger.failed == []
    events = client.request("GET", f"/v2/databases/{cluster['id']}/events?per_page=200")["events"]
    assert any("which they could not follow any more" in one["cenote"]["summary"] for one in events)


def inode(place: NodePaths) -> int:
    """Return that of the data directory, 0 while there is none."""
    try:
        return place.data.stat().st_ino
    except FileNotFoundError:
        return 0
