"""What the nodes of a cluster know of its backups, when another one takes writes."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from cenote.model.backups import BackupReport, Loss
from cenote.model.records import BackupPlan, Keep, Node
from cenote.model.status_records import NodeStatus
from cenote.rules import backup_schedule, cluster_backups, record_formats
from tests.support.backup_reports import HOUR, NOON, REPORT, backup
from tests.support.wanted import CLUSTER

ONE = Node(name="node-1", host="a", port=1, pool_port=2)
TWO = replace(ONE, name="node-2", host="b")
PLAN = BackupPlan(sealed_passphrase="x")
SEVERAL = replace(CLUSTER, nodes=(ONE, TWO), backups=PLAN)
EARLY, LATER = Loss(at=NOON + timedelta(minutes=5), since=NOON), Loss(at=NOON + 3 * HOUR)


def status(backups: BackupReport | None) -> NodeStatus:
    return NodeStatus(reached=1, at=NOON, backups=backups)


def test_a_promoted_node_knows_the_backups_and_the_losses_of_the_one_before() -> None:
    former = status(replace(REPORT, unarchived="it was away", gap_at=EARLY.at, losses=(EARLY,)))
    assert cluster_backups.of_writer({"node-2": status(None)}, "node-2") is None
    for own in (None, BackupReport(), replace(REPORT, backups=REPORT.backups[:1])):
        found = cluster_backups.of_writer({"node-1": former, "node-2": status(own)}, "node-2")
        assert found is not None
        assert (found.backups, found.losses, found.unarchived) == (REPORT.backups, (EARLY,), "")
    newer = replace(REPORT, backups=(*REPORT.backups, backup(NOON + 2 * HOUR)), unarchived="it is full")
    found = cluster_backups.of_writer({"node-1": former, "node-2": status(newer)}, "node-2")
    assert found is not None
    assert (found.backups, found.unarchived) == (newer.backups, "it is full")


def test_what_a_node_that_stands_by_said_of_its_work_is_not_said_any_more() -> None:
    report = replace(REPORT, unarchived="x", failure="x", failed_at=NOON, drilling="x", losses=(EARLY,))
    found = cluster_backups.at_rest(report)
    assert (found.backups, found.losses) == (REPORT.backups, (EARLY,))
    assert (found.unarchived, found.failure, found.failed_at, found.drilling) == ("", "", None, "")
    assert cluster_backups.at_rest(found) == found


def test_backup_of_a_node_ends_when_another_one_takes_writes() -> None:
    assert cluster_backups.elsewhere(SEVERAL, "node-1", "node-2").startswith("node-2 takes writes now")
    for leader in ("node-1", None):  # for a moment, none may be known
        assert cluster_backups.elsewhere(SEVERAL, "node-1", leader) == ""
    assert cluster_backups.elsewhere(replace(SEVERAL, nodes=(ONE,)), "node-1", "node-2") == ""


def test_losses_of_nodes_that_take_no_writes_come_into_the_record_and_stay_apart() -> None:
    backups = (*REPORT.backups, backup(NOON + 2 * HOUR))
    reports = {
        "node-1": status(BackupReport(backups=REPORT.backups, losses=(EARLY,), gap_at=EARLY.at)),
        "node-2": status(BackupReport(backups=backups, losses=(LATER,), gap_at=LATER.at)),
    }
    found = cluster_backups.with_losses(SEVERAL, reports, "node-2")
    assert found.backups is not None
    assert found.backups.losses == (EARLY,)
    assert cluster_backups.with_losses(found, reports, "node-2") is found
    assert cluster_backups.with_losses(SEVERAL, reports, None) is SEVERAL
    assert cluster_backups.with_losses(replace(SEVERAL, nodes=(ONE,)), reports, "node-2").backups == PLAN
    # With a full backup between them they are two.
    told = backup_schedule.with_losses(BackupReport(backups=backups, losses=(LATER,)), found.backups.losses)
    assert told.losses == (EARLY, LATER)
    assert told.gap_at == LATER.at
    without_full = BackupReport(backups=REPORT.backups, losses=(LATER,))
    assert backup_schedule.with_losses(without_full, (EARLY,)).losses == (Loss(at=LATER.at, since=NOON),)
    # What is older than all backups is forgotten.
    old = {"node-2": status(BackupReport(backups=(backup(NOON + 4 * HOUR),)))}
    forgotten = cluster_backups.with_losses(found, old, "node-2")
    assert forgotten.backups == PLAN
    assert (record_formats.needed(found), record_formats.needed(replace(CLUSTER, backups=PLAN))) == (6, 4)


def test_a_deletion_keeps_the_losses_since_the_reports_go() -> None:
    report = {"node-1": status(replace(REPORT, losses=(EARLY,), gap_at=EARLY.at))}
    one = replace(CLUSTER, nodes=(ONE,), backups=PLAN)
    kept = cluster_backups.with_every_loss(one, report, read=True)
    assert kept.backups == replace(PLAN, losses=(EARLY,))
    former = cluster_backups.with_every_loss(one, report, read=False)
    assert former.backups == replace(PLAN, gap_at=EARLY.at)  # all that an earlier version knows of
    assert cluster_backups.with_every_loss(one, {}, read=True) is one
    keep = Keep(until=NOON, nodes=2)
    assert record_formats.needed(replace(one, keep=keep)) == 6
    assert record_formats.needed(replace(one, keep=replace(keep, nodes=1))) == 4
