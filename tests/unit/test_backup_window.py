"""Which moments can be restored, from what an agent reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cenote.model.backups import Backup, BackupReport, BackupType, Loss
from cenote.model.records import BackupPlan
from cenote.rules import backup_window
from cenote.rules.backup_window import Span
from tests.support.etcd import bare_cluster

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
FULL, DIFF = BackupType.FULL, BackupType.DIFFERENTIAL


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def backup(hours: float, type: BackupType = FULL) -> Backup:
    """A backup that took ten minutes."""
    stopped = at(hours)
    return Backup(
        label=f"{hours}",
        type=type,
        started_at=stopped - timedelta(minutes=10),
        stopped_at=stopped,
        size=1,
        repository_size=1,
    )


def report(
    *backups: Backup,
    archived: float | None = None,
    gap: float | None = None,
    losses: tuple[tuple[float, float | None], ...] = (),
) -> BackupReport:
    """``losses``: when WAL was lost, and up to when all was archived before that."""
    return BackupReport(
        backups=backups,
        archived_at=None if archived is None else at(archived),
        gap_at=None if gap is None else at(gap),
        losses=tuple(Loss(at=at(one), since=None if since is None else at(since)) for one, since in losses),
    )


def span(since: float, until: float) -> Span:
    return Span(since=at(since), until=at(until))


def spans_of(seen: BackupReport) -> tuple[Span, ...]:
    """Return what can be restored of a cluster whose server archives nothing now."""
    there = backup_window.window(seen, NOW, archives=False)
    return () if there is None else there.spans


CASES = {
    "no backup": (report(archived=0), ()),
    "no WAL archived that is known": (report(backup(-24)), (span(-24, -24),)),
    "WAL archived before the backup": (
        report(backup(-24), archived=-30),
        (span(-24, -24),),
    ),
    "several": (report(backup(-48), backup(-24, DIFF), archived=-1), (span(-48, -1),)),
    "a gap before the first": (report(backup(-24), archived=0, gap=-30), (span(-24, 0),)),
    "a gap, and no full backup since": (
        report(backup(-48), backup(-24, DIFF), archived=0, gap=-30),
        (span(-48, -48),),  # what was dropped may be all that was written since the full one
    ),
    "a gap after another backup": (
        report(backup(-48), backup(-36, DIFF), archived=0, gap=-30),
        (span(-48, -36),),
    ),
    "a gap of which the beginning is known": (
        report(backup(-48), backup(-24), archived=0, gap=-30, losses=((-30, -33),)),
        (span(-48, -33), span(-24, 0)),
    ),
    "a gap just after a backup": (
        report(backup(-48), backup(-24), archived=0, gap=-30, losses=((-30, -48 - 1 / 3600),)),
        (span(-48, -48), span(-24, 0)),
    ),
    "two gaps": (
        report(backup(-72), backup(-48), backup(-24), archived=0, gap=-30, losses=((-60, -61), (-30, -31))),
        (span(-72, -61), span(-48, -31), span(-24, 0)),
    ),
    "two gaps before one full backup": (
        report(backup(-72), backup(-24), archived=0, gap=-30, losses=((-60, -61), (-30, -31))),
        (span(-72, -61), span(-24, 0)),
    ),
    "two gaps, the first of an earlier version": (
        report(backup(-72), backup(-48), backup(-24), archived=0, gap=-30, losses=((-60, None), (-30, -31))),
        (span(-72, -72), span(-48, -31), span(-24, 0)),
    ),
    "a gap that a full backup covers": (
        report(backup(-48), backup(-24), archived=0, gap=-30),
        (span(-48, -48), span(-24, 0)),
    ),
    "a gap during a full backup": (
        report(backup(-48), backup(-24), archived=0, gap=-24.1),
        (span(-48, -48),),
    ),
    "a gap during the first": (
        report(backup(-48), backup(-24), archived=0, gap=-48.1),
        (span(-24, 0),),
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_can_be_restored(case: str) -> None:
    reported, expected = CASES[case]
    assert spans_of(reported) == expected


@given(
    st.lists(st.tuples(st.integers(-500, 0), st.booleans()), max_size=8),
    st.none() | st.integers(-500, 0),
    st.none() | st.integers(-500, 0),
)
def test_pieces_are_in_order_and_the_gap_is_in_none(
    made: list[tuple[int, bool]], archived: int | None, gap: int | None
) -> None:
    backups = [backup(hours, FULL if full else DIFF) for hours, full in sorted(made)]
    seen = report(*backups, archived=archived, gap=gap)
    spans = spans_of(seen)
    edges = [edge for span in spans for edge in (span.since, span.until)]
    assert edges == sorted(edges)
    if gap is not None:
        assert not [span for span in spans if span.since < at(gap) < span.until]
    assert not [span for span in spans if span.since < backups[0].stopped_at]


def test_one_that_was_asked_for_waits_until_it_is_made_or_has_failed() -> None:
    cluster = replace(bare_cluster("one", 10_000), backups=BackupPlan(sealed_passphrase="x", asked_at=at(-1)))
    waiting = backup_window.waiting_since
    assert waiting(cluster, report(backup(-5))) == at(-1)
    assert waiting(cluster, BackupReport()) == at(-1)
    assert waiting(cluster, report(backup(-5), backup(0))) is None
    assert waiting(cluster, replace(report(backup(-5)), running=DIFF)) is None
    assert waiting(cluster, replace(report(backup(-5)), failure="full", failed_at=at(-0.5))) is None
    assert waiting(cluster, replace(report(backup(-5)), failure="full", failed_at=at(-2))) == at(-1)
    assert waiting(bare_cluster("one", 10_000), report(backup(-5))) is None
