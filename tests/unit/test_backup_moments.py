"""The window of a cluster's backups: its ends, its gap, and the moments that are refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from cenote.errors import Invalid
from cenote.model.backups import BackupReport, BackupType
from cenote.rules import backup_window
from cenote.rules.backup_window import Window
from tests.support.backup_reports import HOUR, LATE, NOON, REPORT, SECOND, backup


def window(report: BackupReport = REPORT, *, archives: bool = True) -> Window:
    found = backup_window.window(report, LATE, archives=archives)
    assert found is not None
    return found


def refusal(moment: datetime, there: Window) -> str:
    with pytest.raises(Invalid) as caught:
        backup_window.check(moment, there, "backend")
    return caught.value.message


def test_without_a_backup_nothing_can_be_restored() -> None:
    assert backup_window.window(BackupReport(archived_at=NOON), LATE, archives=True) is None


def test_a_window_goes_from_the_end_of_the_oldest_backup_until_now() -> None:
    there = window()
    assert (there.since, there.until) == (NOON, LATE)
    for moment in (NOON, NOON + HOUR, LATE, NOON + timedelta(microseconds=1)):
        backup_window.check(moment, there, "backend")
    for moment in (NOON - SECOND, LATE + SECOND, NOON - timedelta(days=400)):
        assert "2026-11-28 12:00:00 to 2026-11-28 17:00:00 UTC" in refusal(moment, there)


def test_a_source_that_does_not_archive_can_be_restored_up_to_what_it_has_archived() -> None:
    assert window(archives=False).until == NOON + 2 * HOUR
    old = replace(REPORT, archived_at=NOON)  # the end of a backup is archived, too
    assert window(old, archives=False).until == NOON + HOUR


def test_a_moment_in_a_gap_is_refused_by_the_gap() -> None:
    after = backup(NOON + 3 * HOUR)
    report = replace(REPORT, backups=(*REPORT.backups, after), gap_at=NOON + 2 * HOUR)
    there = window(report)
    for inside in (NOON + HOUR + SECOND, NOON + 2 * HOUR, after.stopped_at - SECOND):
        assert "except 2026-11-28 13:00:00 to 2026-11-28 15:00:00 UTC" in refusal(inside, there)
    for outside in (NOON + HOUR, after.stopped_at, LATE):
        backup_window.check(outside, there, "backend")


def test_a_gap_lasts_until_a_full_backup() -> None:
    after = backup(NOON + 3 * HOUR, BackupType.DIFFERENTIAL)
    report = replace(REPORT, backups=(*REPORT.backups, after), gap_at=NOON + 2 * HOUR)
    assert "except 2026-11-28 13:00:00 to now" in refusal(LATE, window(report))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-28T12:00:00Z", NOON),
        ("2026-11-28t12:00:00z", NOON),
        ("2026-11-28T13:30:00+01:30", NOON),
        (" 2026-11-28T12:00:00.25Z ", NOON + timedelta(milliseconds=250)),
        ("2026-11-28 12:00:00+00:00", NOON),
    ],
    ids=["utc", "small letters", "offset", "fraction", "space"],
)
def test_a_moment_is_read(text: str, moment: datetime) -> None:
    assert backup_window.moment(text) == moment
    assert backup_window.moment(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-11-28",
        "2026-11-28T12:00:00",
        "12:00Z",
        "0001-01-01T00:00:00+14:00",
        "9" * 400,
        "\x00",
    ],
    ids=["word", "day", "no offset", "no day", "too early", "long", "control"],
)
def test_what_is_no_moment_is_refused_in_words(text: str) -> None:
    with pytest.raises(Invalid, match=r"^backup_restore\.backup_created_at: "):
        backup_window.moment(text)
