"""Random faults of one cluster of three nodes, one after another, under 20 writers in its pools.

Of all kinds that the other batteries have, but for those that change how many nodes there are.  In the end no
acknowledged row is lost, at no sample there were two primaries, and all nodes stream.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from faults import failover, rolling, standby_faults
from faults.failover import FAULTS, NOTHING_FAILS, PARTITION, Battery
from faults.node_faults import AFTER_SECONDS, Fault
from faults.outcome import Outcome
from tests.support.fleet import FleetHost, fleet
from tests.support.fleet_network import network_fleet
from tests.support.small_disk import may_mount
from tests.support.trio import Trio, trio
from tests.support.waiting import wait_until

SWITCH_SECONDS = 90.0
STREAMING_SECONDS = 120.0


def batteries(runs: int, seed: str) -> list[Outcome]:
    """Make so many faults; in network namespaces, where there can be any, else without partitions."""
    try:
        return [_in_network(runs, seed)]
    except pytest.skip.Exception as why:
        print(f"random: {PARTITION}: left out: {why}", flush=True)
    with fleet(3, joined=True, clusters=4, small_disks=may_mount()) as hosts, trio(hosts.hosts) as cluster:
        battery = Battery(cluster, Outcome(f"{runs} random faults, no partition"))
        with battery.writing():
            _run(battery, cluster, kinds(), runs, seed)
        return [battery.outcome]


def _in_network(runs: int, seed: str) -> Outcome:
    with (
        network_fleet(3, small_disks=may_mount()) as hosts,
        hosts.network.visit(),
        trio(hosts.hosts) as cluster,
    ):
        battery = Battery(cluster, Outcome(f"{runs} random faults"))
        partition = {PARTITION: failover.partition_of(hosts)}
        with battery.writing(hosts):
            _run(battery, cluster, kinds() | partition, runs, seed)
        return battery.outcome


def kinds() -> dict[str, Fault]:
    """Return the faults that can be made here."""
    own: Mapping[str, Fault] = {
        "switch": switched,
        "killed": killed,
        **{name: rolling.change(name) for name in ("grow", "shrink", "size")},
    }
    found = {**FAULTS, **own}
    return {name: one for name, one in found.items() if may_mount() or name not in standby_faults.NEED_MOUNTS}


def drawn(names: list[str], runs: int, chance: random.Random) -> list[str]:
    """Return so many names: in each round each of them once, so that few faults are of many kinds."""
    found: list[str] = []
    while len(found) < runs:
        found += chance.sample(names, len(names))
    return found[:runs]


def _run(battery: Battery, cluster: Trio, faults: Mapping[str, Fault], runs: int, seed: str) -> None:
    chance = random.Random(f"{seed}-random")
    quiet = NOTHING_FAILS | {"switch", "grow", "shrink", "size"}
    for number, name in enumerate(drawn(sorted(faults), runs, chance), 1):
        battery.run(f"{name} {number}", faults[name], chance, nothing_fails=name in quiet)
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    try:
        others = len(cluster.hosts) - 1
        wait_until("all nodes stream", STREAMING_SECONDS, lambda: cluster.on_primary(query) == [(others,)])
    except AssertionError as error:
        battery.outcome.orphans.append(str(error))


@contextmanager
def switched(cluster: Trio, _chance: random.Random) -> Iterator[int | None]:
    before = cluster.primary()
    cluster.switch()
    wait_until("another node takes writes", SWITCH_SECONDS, lambda: cluster.primary() not in ("", before))
    yield None


@contextmanager
def killed(cluster: Trio, chance: random.Random) -> Iterator[int | None]:
    """Kill the agent, the API or the pooler of a host, or all of the service, which is started again."""
    host = chance.choice(cluster.hosts)
    what = chance.choice(("agent", "api", "pgbouncer", "service"))
    if what == "service":
        host.end(signal.SIGKILL)
        host.start()
    else:
        pid = _pid(host, what)
        assert pid is not None, f"{what} of {host.name} does not run"
        os.kill(pid, signal.SIGKILL)
    yield cluster.hosts.index(host) if what == "pgbouncer" else None
    time.sleep(AFTER_SECONDS)


def _pid(host: FleetHost, what: str) -> int | None:
    return host.servers().get(what) if what == "pgbouncer" else host.child(what)
