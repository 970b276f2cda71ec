"""A short example of the batteries of faults of clusters with several nodes."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import failover, ledger, standby_faults, switch, switch_kills
from faults.outcome import Outcome
from tests.support.fleet import fleet
from tests.support.small_disk import may_mount
from tests.support.trio import Trio, trio

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster() -> Iterator[Trio]:
    with fleet(3, joined=True, clusters=4, small_disks=may_mount()) as hosts, trio(hosts.hosts) as made:
        yield made


@pytest.fixture
def chance() -> random.Random:
    seed = os.environ.get("CENOTE_TEST_SEED") or os.urandom(4).hex()
    print(f"to draw the same again: CENOTE_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.mark.parametrize("name", ["crowd", "disk_full"])
def test_no_acknowledged_row_is_lost_and_nobody_is_refused(
    cluster: Trio, chance: random.Random, name: str
) -> None:
    if name in standby_faults.NEED_MOUNTS and not may_mount():
        pytest.skip("file systems cannot be mounted here")
    battery = failover.Battery(cluster, Outcome(name))
    with battery.writing():
        battery.run(name, failover.FAULTS[name], chance, nothing_fails=name in failover.NOTHING_FAILS)
    assert (battery.outcome.times, battery.outcome.lost, battery.outcome.orphans) == (1, [], [])


@pytest.mark.parametrize(
    ("step", "victim"), [("preparing", "agent of the source"), ("holding", "controller")]
)
def test_a_kill_in_the_middle_of_a_switch_leaves_no_pool_paused_and_no_switch_behind(
    cluster: Trio, chance: random.Random, step: str, victim: str
) -> None:
    outcome = Outcome("switch")
    with tempfile.TemporaryDirectory() as folder, cluster.hosts[0].client() as client:
        writers = range(switch.WRITERS)
        with ledger.writing(Path(folder) / "ledger", writers, cluster.uris, prepared=True) as written:
            battery = switch.Battery(cluster, outcome, written, client)
            battery.settle()
            switch_kills.run(battery, chance, step, victim)
            battery.settle()
        switch.judge(cluster, outcome, *written.read())
    assert outcome.lost == []
    assert battery.paused() == []
    assert not switch_kills.asked_of_patroni(cluster)
    assert not [one for one in cluster.events("cluster_update") if "gave up the switch" in one]
