"""What is done to the nodes of a cluster while clients write: one of them ends, or is frozen, or is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cenote.store.process import PrivateEtcd
from tests.support.trio import Trio
from tests.support.waiting import wait_until

AFTER_SECONDS = 3.0  # that writers work after a fault
ETCD_SECONDS = 30.0
FROZEN_SECONDS = float(os.environ.get("FROZEN") or 30)
TOLD_SECONDS = 60.0
QUORUM_SECONDS = 5.0

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
    with stopped(cluster.all_of(cluster.primary())):
        yield None


@contextmanager
def standby_frozen(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    """Stop a standby's PostgreSQL, half of the time its Patroni, too, for a while; it is told in words."""
    node = chance.choice(cluster.standbys())
    with stopped(cluster.all_of(node) if chance.random() < 0.5 else cluster.servers_of(node)):
        yield None
        wait_until(f"it is told that {node} lags", TOLD_SECONDS, lambda: node in cluster.reason())
        time.sleep(FROZEN_SECONDS)


@contextmanager
def etcd(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    """Stop all members of the store for a while; writes go on."""
    pids = [PrivateEtcd(one.data_dir / "etcd").pid for one in cluster.hosts]
    with stopped([pid for pid in pids if pid is not None]):
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


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
