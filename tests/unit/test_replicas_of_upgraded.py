"""Read replicas of a cluster that is upgraded to another major version: when they are made anew, and how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cenote.engine.plan import base_backup, replica
from cenote.engine.plan.context import Source
from cenote.errors import Busy
from cenote.model import topology
from cenote.model.changes import EndProcesses, Remove, Rename, Start, Stop, Wait
from cenote.model.fleet_records import Presence
from cenote.model.records import BackupPlan, Cluster, ClusterStatus, MajorUpgrade, UpgradeStep
from cenote.model.status_records import NodeStatus, Standby
from cenote.model.topology import Health
from cenote.rules import lineages, major_upgrades, replicas, upgrades_of_nodes
from tests.support.wanted import NOW, SITE
from tests.unit.test_replicas import CONTEXT, PLACES, REPLICA, SOURCE, changed, pass_of

UPGRADED = msgspec.structs.replace(SOURCE, version="17")
BOTH = replace(SITE, binaries={**SITE.binaries, "17": Path("/usr/lib/postgresql/17/bin")})
OLD = replace(CONTEXT, host=BOTH, data_version="15", source=Source("backend", PLACES, upgraded_to="17"))


def of_writer(version: str, reached: int = 9) -> NodeStatus:
    return NodeStatus(reached=reached, at=NOW, data_version=version)


def of_replica(copy: int, **fields: Any) -> NodeStatus:
    return NodeStatus(reached=9, at=NOW, run="run-1", copy=copy, **fields)


def anew() -> Cluster:
    return replicas.of_upgraded(REPLICA, UPGRADED, of_writer("17"))


@pytest.mark.parametrize("step", UpgradeStep)
def test_a_replica_keeps_its_data_until_the_upgrade_of_its_source_is_over(step: UpgradeStep) -> None:
    mark = MajorUpgrade(source="15", asked_at=NOW, node="node-1", step=step)
    source = msgspec.structs.replace(UPGRADED, major_upgrade=mark)
    assert replicas.of_upgraded(REPLICA, source, of_writer("15")) is REPLICA
    after = replicas.of_upgraded(REPLICA, source, of_writer("17"))
    # Of several nodes the version is that of the data once the others come back, be it the former one.
    assert (after is not REPLICA) == (step is UpgradeStep.REJOINING)


def test_a_replica_is_copied_anew_once_and_by_another_slot_when_its_source_works_with_the_new_version() -> (
    None
):
    for writer in (None, of_writer("15"), of_writer("17", reached=0)):
        assert replicas.of_upgraded(REPLICA, UPGRADED, writer) is REPLICA
    after = anew()
    assert (after.version, after.copies) == ("17", REPLICA.copies + 1)
    assert replicas.slot(after) != replicas.slot(REPLICA)
    assert (after.id, after.nodes, after.pools, after.firewall, after.configuration) == (
        REPLICA.id,
        REPLICA.nodes,
        REPLICA.pools,
        REPLICA.firewall,
        REPLICA.configuration,
    )
    assert replicas.of_upgraded(after, UPGRADED, of_writer("17")) is after


def test_a_refused_upgrade_leaves_replicas_as_they_were() -> None:
    begun = upgrades_of_nodes.begun(SOURCE, "17", None, NOW)
    assert replicas.of_upgraded(REPLICA, begun, of_writer("15")) is REPLICA
    back = major_upgrades.withdrawn(begun)
    assert replicas.of_upgraded(REPLICA, back, of_writer("15")) is REPLICA
    assert replicas.shown_version(REPLICA, back) == "15"


def test_a_replica_with_more_than_its_source_and_one_that_leaves_keep_what_they_have() -> None:
    ahead = changed(version="17", copies=2)  # its source went on from a backup of before its upgrade
    assert replicas.of_upgraded(ahead, SOURCE, of_writer("15")) is ahead
    assert replicas.shown_version(ahead, SOURCE) == "17"
    leaving = replicas.asked_to_promote(REPLICA, NOW)
    assert replicas.of_upgraded(leaving, UPGRADED, of_writer("17")) is leaving
    assert replicas.shown_version(leaving, UPGRADED) == "15"
    own = replicas.promoted(leaving, UPGRADED)
    assert own.version == "15"  # that of its data
    assert replicas.of_upgraded(own, UPGRADED, of_writer("17")) is own


def test_what_is_refused_meanwhile_says_why() -> None:
    replicas.check_not_upgraded(REPLICA, SOURCE)
    replicas.check_not_upgraded(REPLICA, None)
    begun = upgrades_of_nodes.begun(SOURCE, "17", None, NOW)
    for source in (begun, UPGRADED):
        with pytest.raises(
            Busy, match="backend is being upgraded to PostgreSQL 17, and reports is made anew"
        ):
            replicas.check_not_upgraded(REPLICA, source)
    replicas.check_not_upgraded(anew(), UPGRADED)
    replicas.check_none_promoted([REPLICA])
    with pytest.raises(Busy, match="replica reports is being promoted"):
        replicas.check_none_promoted([REPLICA, replicas.asked_to_promote(REPLICA, NOW)])


def test_a_source_that_was_recovered_is_not_upgraded_while_a_replica_may_have_more() -> None:
    replicas.check_none_has_more(SOURCE, ["reports"])
    plan = BackupPlan(sealed_passphrase="sealed", lineage=lineages.mark(NOW, "0a1b2c3d", ""))
    recovered = msgspec.structs.replace(SOURCE, backups=plan)
    assert (replicas.recovered_at(SOURCE), replicas.recovered_at(recovered)) == (None, NOW)
    replicas.check_none_has_more(recovered, [])
    with pytest.raises(Busy, match=r"replica reports does not follow it.* Promote the replica to keep"):
        replicas.check_none_has_more(recovered, ["reports"])


def test_the_version_of_the_source_is_shown_at_once() -> None:
    begun = upgrades_of_nodes.begun(SOURCE, "17", None, NOW)
    assert replicas.shown_version(REPLICA, begun) == "17"
    assert replicas.shown_version(REPLICA, SOURCE) == "15"
    assert replicas.shown_version(REPLICA, None) == "15"
    assert replicas.shown_version(anew(), UPGRADED) == "17"


def test_it_is_said_what_reads_see_while_the_source_is_away_for_its_upgrade() -> None:
    [waits] = replica.plan(OLD, replica.Seen(receiving=False, replayed=7))
    assert isinstance(waits, Wait)
    assert "backend is being upgraded to PostgreSQL 17" in waits.reason
    assert "by PostgreSQL 15" in waits.reason
    assert list(replica.plan(OLD, replica.Seen(receiving=True, replayed=7))) == []
    # What its server says of the other's data is no reason to copy anything before the upgrade is over.
    said = "FATAL:  database system identifier differs between the primary and standby"
    assert not replica.report(OLD, replica.Seen(False, said=said))["wal_gone"]


def test_it_is_creating_and_starting_while_it_is_made_anew() -> None:
    before, reason = of_replica(1, standby=Standby(streaming=True, replayed=9)), "copying the data of backend"
    assert topology.status(REPLICA, before) is ClusterStatus.ONLINE
    assert topology.status(anew(), before) is ClusterStatus.CREATING
    node = REPLICA.nodes[0]
    presences = {node.host: Presence(directory="d", run="run-1", started_at=NOW)}
    for report, health in (
        (of_replica(0, stopped=("PostgreSQL",), waiting=True, reason=reason), Health.STARTING),
        (of_replica(0, stopped=("PostgreSQL",), failing=True, reason="no space"), Health.DOWN),
    ):
        found = topology.topology(anew(), {node.name: report}, presences)
        assert (found.health, found.reason) == (health, report.reason)
        assert found.status is ClusterStatus.CREATING
    assert topology.status(anew(), of_replica(2)) is ClusterStatus.ONLINE


def test_the_new_copy_is_made_by_the_programs_of_the_new_version() -> None:
    context = replace(OLD, cluster=anew(), source=Source("backend", PLACES))
    stop, remove, *_, started, _ = pass_of(
        base_backup.plan(context, base_backup.Seen(has_data=True, is_standby=True, copy=1, server_runs=True))
    )
    assert isinstance(stop, Stop)
    assert stop.program.argv[0].startswith("/usr/lib/postgresql/15/")
    assert remove == Remove(context.paths.data)
    assert isinstance(started, Start)
    assert started.program.argv[0].startswith("/usr/lib/postgresql/17/"), "in the same pass, too"
    empty = replace(context, data_version="")
    [*_, start, _] = pass_of(base_backup.plan(empty, base_backup.Seen(has_data=False)))
    assert isinstance(start, Start)
    assert start.program.argv[0].startswith("/usr/lib/postgresql/17/")
    assert replicas.slot(anew()) in start.program.argv


@pytest.mark.parametrize("running", [True, False])
def test_a_copy_that_was_made_before_the_upgrade_is_not_taken_for_one_of_after_it(running: bool) -> None:
    context = replace(OLD, cluster=anew(), data_version="", source=Source("backend", PLACES))
    found = base_backup.Seen(
        has_data=False, has_draft=True, running=running, complete=not running, draft_version="15"
    )
    changes = pass_of(base_backup.plan(context, found))
    assert changes[:2] == [EndProcesses(context.paths.draft), Remove(context.paths.draft)]
    assert any(isinstance(change, Start) for change in changes)
    assert not any(isinstance(change, Rename) for change in changes)
    good = replace(found, running=False, complete=True, draft_version="17")
    assert any(isinstance(change, Rename) for change in base_backup.plan(context, good))
