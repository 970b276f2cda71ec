"""What goes wrong with a standby for long: its disk is full, or it is away until its slot keeps no more WAL.

Clients of the primary of three nodes notice neither.  The cluster says in words what is the matter, and the
node follows again once it can.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from cenote.host import processes
from cenote.model.paths import FIRST_NODE, Layout
from faults.node_faults import AFTER_SECONDS, TOLD_SECONDS, Fault, stopped
from tests.support import small_disk
from tests.support.trio import Trio
from tests.support.waiting import wait_until

FULL_WORDS = ("disk is full", "No space left on device")  # of ours, and of the system's
KEPT_MIB = 64  # of WAL for slots
MOST_SEGMENTS = 64  # of 16 MiB that are begun until the slot has to be given up
COPIED_SECONDS = 180.0
LONG_TEXT = "SELECT pg_logical_emit_message(false, 'faults', repeat('x', 8000000))"
LIMIT = "SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"
ON_DISK = "SELECT sum(size)::bigint / 1048576 FROM pg_ls_waldir()"


@contextmanager
def disk_full(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    """Let the host of a standby have no room at all for a while, its store and its logs included."""
    node = chance.choice(cluster.standbys())
    with small_disk.full(cluster.host(node).data_dir):
        yield None
        cluster.on_primary(LONG_TEXT)
        wait_until(
            f"it is told that the disk of {node} is full",
            TOLD_SECONDS,
            lambda: _is_told(node, cluster.reason()),
        )
        time.sleep(AFTER_SECONDS)


@contextmanager
def dead_slot(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    """Freeze a standby until the primary has given up the WAL for it: it is copied anew, and that is told."""
    node = chance.choice(cluster.standbys())
    told = len(_copies(cluster))
    with _keeping_little(cluster):
        with stopped(cluster.all_of(node)):
            yield None
            _give_up(cluster, node.replace("-", "_"))  # as Patroni calls it
            wait_until(f"it is told that {node} lags", TOLD_SECONDS, lambda: node in cluster.reason())
        wait_until(
            f"{node} is copied anew, and it is told", COPIED_SECONDS, lambda: len(_copies(cluster)) > told
        )
        cluster.wait_until_healthy(COPIED_SECONDS)


@contextmanager
def dead_replica(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Freeze a read replica until its slot gives up: it is copied anew, and its events say so."""
    with cluster.replica("reports") as id, _keeping_little(cluster):
        with stopped(_servers(cluster, id)):
            yield None
            _give_up(cluster, f"cenote_{UUID(id).hex}_1")
        wait_until("it is told that it is copied anew", COPIED_SECONDS, lambda: _is_copied(cluster, id))
        cluster.wait_until_healthy(COPIED_SECONDS, id)


@contextmanager
def _keeping_little(cluster: Trio) -> Iterator[None]:
    cluster.configure(max_slot_wal_keep_size=KEPT_MIB)
    wait_until("slots keep less", TOLD_SECONDS, lambda: cluster.on_primary(LIMIT) == [(KEPT_MIB,)])
    yield
    cluster.configure(max_slot_wal_keep_size=None)


def _give_up(cluster: Trio, slot: str) -> None:
    """Write WAL until the slot of a server that is away keeps none any more."""
    state = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'"  # noqa: S608
    assert cluster.on_primary(state), f"there is no slot {slot}"
    for _ in range(MOST_SEGMENTS):
        if cluster.on_primary(state) in ([("lost",)], []):
            break
        cluster.on_primary(LONG_TEXT)
        cluster.on_primary("SELECT pg_switch_wal()")
        cluster.on_primary("CHECKPOINT")
    found = cluster.on_primary(state)
    assert found in ([("lost",)], []), f"the slot {slot} keeps all WAL: {found}"
    print(f"WAL on the disk: {cluster.on_primary(ON_DISK)[0][0]} MiB", flush=True)


def _servers(cluster: Trio, id: str) -> list[int]:
    """Return the pids of a read replica's PostgreSQL."""
    folders = [Layout(host.data_dir).node(UUID(id), FIRST_NODE).data for host in cluster.hosts]
    return [process.pid for folder in folders for process in processes.below(folder)]


def _is_copied(cluster: Trio, id: str) -> bool:
    return any("copies the data of its source anew" in one for one in cluster.events("cluster_update", id))


def _is_told(node: str, reason: str) -> bool:
    return f"{node} is" in reason and any(words in reason for words in FULL_WORDS)


def _copies(cluster: Trio) -> list[str]:
    return [one for one in cluster.events("cluster_update") if "set its data aside" in one]


FAULTS: Mapping[str, Fault] = {
    "disk_full": disk_full,
    "dead_slot": dead_slot,
    "dead_replica": dead_replica,
}
NEED_MOUNTS = frozenset({"disk_full"})
