"""When a restore drill is due, and what the list of an archive's files says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from cenote.model.backups import Backup, BackupReport, BackupType, Drill
from cenote.model.records import BackupPlan
from cenote.rules import drills
from tests.support.wanted import CLUSTER

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
DAY = timedelta(days=1)
BACKUP = Backup(
    label="20260102-030000F",
    type=BackupType.FULL,
    started_at=AT - timedelta(minutes=1),
    stopped_at=AT,
    size=1,
    repository_size=1,
)
REPORT = BackupReport(backups=(BACKUP,))
GOOD = Drill(label=BACKUP.label, started_at=AT, ended_at=AT + timedelta(minutes=5))
BAD = replace(GOOD, check="amcheck", failure="a page is damaged")


def asked(at: datetime | None) -> BackupPlan:
    return BackupPlan(sealed_passphrase="", drill_asked_at=at)


def test_the_first_drill_is_due_within_a_day_of_the_first_backup() -> None:
    due = drills.next_at(CLUSTER, REPORT, 7)
    assert due is not None
    assert AT <= due < AT + DAY
    assert drills.is_due(CLUSTER, REPORT, 7, due)
    assert not drills.is_due(CLUSTER, REPORT, 7, due - timedelta(seconds=1))
    assert drills.next_at(CLUSTER, BackupReport(), 7) is None


@pytest.mark.parametrize(
    ("last", "days", "pause"),
    [(GOOD, 7, 7 * DAY), (BAD, 7, DAY), (BAD, 1, DAY), (GOOD, 0, None), (BAD, 0, None)],
    ids=["good", "bad", "bad and daily", "good and off", "bad and off"],
)
def test_the_next_drill_follows_the_last_one(last: Drill, days: int, pause: timedelta | None) -> None:
    report = replace(REPORT, drill=last)
    assert drills.next_at(CLUSTER, report, days) == (None if pause is None else last.ended_at + pause)


def test_one_that_was_asked_for_is_due_until_it_was_begun_also_when_none_is_by_itself() -> None:
    cluster = replace(CLUSTER, backups=asked(AT + timedelta(seconds=1)))
    report = replace(REPORT, drill=GOOD)
    assert drills.is_due(cluster, report, 0, AT)
    begun = replace(GOOD, started_at=AT + timedelta(seconds=1))
    assert not drills.is_due(cluster, replace(report, drill=begun), 0, AT)
    assert not drills.is_due(cluster, BackupReport(), 0, AT)  # there is nothing to restore
    assert not drills.is_due(replace(CLUSTER, backups=asked(None)), report, 0, AT)


NAMES = ("0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000")
LISTING = "".join(f"15-1/0000000100000000/{name}-{'a' * 40}.zst\n" for name in NAMES)


def test_only_segments_of_a_list_count() -> None:
    others = "archive.info\n15-1/00000002.history\n15-1/x/000000010000000000000002.00000028.backup\n"
    assert drills.segments(LISTING + others) == sorted(NAMES)
    assert drills.is_segment(NAMES[0])
    assert not drills.is_segment("00000002.history")
    assert not drills.is_segment("")


def test_a_segment_that_is_missing_is_named_across_the_256_of_a_file_number() -> None:
    assert drills.missing(NAMES, NAMES[0]) == ""
    assert drills.missing((NAMES[0], NAMES[2]), NAMES[0]) == NAMES[1]
    assert drills.missing(NAMES[1:], NAMES[0]) == NAMES[0]
    assert drills.missing((), NAMES[0]) == NAMES[0]
    promoted = (*NAMES[:2], "000000020000000100000000")
    assert drills.missing(promoted, NAMES[0]) == ""


def test_what_verify_has_found_is_told() -> None:
    bad = "stanza: s\nstatus: error\n  backup: x, status: invalid, total files: 9\n    checksum invalid: 1"
    assert "checksum invalid: 1" in drills.verify_problem(bad)
    assert drills.verify_problem("stanza: s\nstatus: ok\n") == ""
    assert drills.verify_problem("") == ""
