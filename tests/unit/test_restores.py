"""What a restore decides: the backup it begins with, what its server's log says, whether WAL is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from cenote.conf import recovery
from cenote.engine.parts import NODE_PARTS
from cenote.engine.plan import restore
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.restore import Seen
from cenote.model.backups import Backup, BackupType
from cenote.model.changes import Refuse, Wait
from cenote.model.records import ClusterStatus, Restoration
from cenote.model.restores import Restored, RestoreState
from cenote.model.topology import status
from cenote.rules import backup_info, recovery_log, restorable
from cenote.rules.recovery_log import Outcome
from tests.support.wanted import CLUSTER, SITE

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST, LAST = "000000010000000000000005", "0000000100000000000000FF"


def backup(ended: datetime, label: str = "") -> Backup:
    return Backup(
        label=label or f"{ended:%H%M%S}",
        type=BackupType.FULL,
        started_at=ended - timedelta(minutes=5),
        stopped_at=ended,
        size=1,
        repository_size=1,
    )


BACKUPS = (backup(AT), backup(AT + HOUR), backup(AT + 2 * HOUR))


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (None, 2),
        (AT + 3 * HOUR, 2),
        (AT + 2 * HOUR, 1),  # it may have ended within this second
        (AT + 2 * HOUR + timedelta(seconds=1), 2),
        (AT, 0),
        (AT + HOUR - timedelta(microseconds=1), 0),
    ],
    ids=["end", "later", "in its second", "after its second", "in that of the first", "between"],
)
def test_a_restore_begins_with_the_last_backup_that_had_ended(target: datetime | None, chosen: int) -> None:
    assert restorable.choose(BACKUPS, target) == BACKUPS[chosen]


def test_a_moment_before_the_first_backup_is_named_with_what_there_is() -> None:
    words = "2026-01-02 02:59:59 UTC cannot be restored: the first backup ended 2026-01-02 03:00:00 UTC"
    with pytest.raises(ValueError, match=words):
        restorable.choose(BACKUPS, AT - timedelta(seconds=1))
    with pytest.raises(ValueError, match="there is no backup of it"):
        restorable.choose((), None)


def test_only_a_backup_that_began_later_proves_that_the_archive_reaches_a_moment() -> None:
    began = BACKUPS[-1].started_at
    assert restorable.proves(BACKUPS, began - timedelta(seconds=1))
    assert not restorable.proves(BACKUPS, began)
    assert not restorable.proves((), AT)


def test_wal_is_missing_where_the_archive_has_more_than_was_replayed() -> None:
    assert LAST in restorable.missing_after(FIRST, LAST)
    assert restorable.missing_after(LAST, LAST) == ""
    assert restorable.missing_after("0000000200000000000000FF", LAST) == ""  # of a later timeline
    assert restorable.missing_after("", LAST) == ""


def test_progress_counts_segments_across_the_256_of_a_file_number() -> None:
    assert restorable.percent(FIRST, FIRST, LAST) == 0
    assert restorable.percent(FIRST, LAST, LAST) == 100
    crossing = "0000000100000000000000FE", "000000010000000100000000", "000000010000000100000002"
    assert restorable.percent(*crossing) == 50
    assert restorable.percent(FIRST, FIRST, FIRST) is None
    assert restorable.percent("", "", "") is None


LOG = """\
2026-01-02 03:00:00.000 UTC [1] LOG:  starting point-in-time recovery to 2026-01-02 03:00:00+00
2026-01-02 03:00:00.000 UTC [1] LOG:  restored log file "000000010000000000000005" from archive
2026-01-02 03:00:00.000 UTC [1] LOG:  restored log file "000000010000000000000006" from archive
2026-01-02 03:00:00.000 UTC [1] LOG:  last completed transaction was at log time 2026-01-02 02:58:01.5+00
"""


@pytest.mark.parametrize(
    ("lines", "outcome", "words"),
    [
        (
            "FATAL:  recovery ended before configured recovery target was reached",
            Outcome.ENDED_BEFORE,
            "ends before that moment",
        ),
        (
            "FATAL:  requested recovery stop point is before consistent recovery point",
            Outcome.TOO_EARLY,
            "had not ended yet",
        ),
        (
            'ERROR: [039]: unable to read\nFATAL:  could not restore file "0005" from archive: child process',
            Outcome.UNREADABLE,
            "the archive cannot be read: unable to read",
        ),
        (
            "FATAL:  the database system is starting up\nPANIC:  could not locate a valid checkpoint record",
            Outcome.FAILED,
            "cannot be replayed",
        ),
        ("", Outcome.KILLED, "was ended"),
    ],
    ids=["ended before", "too early", "unreadable", "panic", "killed"],
)
def test_why_a_recovery_has_ended_is_told_by_its_log(lines: str, outcome: Outcome, words: str) -> None:
    found = recovery_log.failure(LOG + lines)
    assert found.outcome is outcome
    assert words in found.words


def test_the_log_says_what_was_replayed() -> None:
    assert recovery_log.last_segment(LOG) == "000000010000000000000006"
    assert recovery_log.transaction_at(LOG) == datetime(2026, 1, 2, 2, 58, 1, 500_000, tzinfo=UTC)
    assert recovery_log.last_segment("") == ""
    assert recovery_log.transaction_at("") is None


def test_a_server_in_recovery_takes_nobody_and_archives_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("recovery")
    settings = recovery.settings(
        configuration=folder / "c",
        hba=folder / "h",
        ident=folder / "i",
        sockets=folder,
        least={"max_connections": 900, "max_worker_processes": 2},
        fetch=folder / "it's 100%",
        target=AT,
    )
    assert settings["listen_addresses"] == ""
    assert settings["archive_mode"] == "off"
    assert settings["max_connections"] == "900"
    assert settings["max_worker_processes"] == "8"
    assert settings["recovery_target_time"] == "2026-01-02 03:00:00.000000+00"
    assert settings["recovery_target_inclusive"] == "off"
    assert settings["restore_command"].endswith("100%%' %f %p")
    assert recovery.hba().split() == ["local", "all", "postgres", "peer", "map=cenote"]


RESTORATION = Restoration(node="node-1", source=CLUSTER.id, asked_at=AT)
FORK = msgspec.structs.replace(CLUSTER, restoration=RESTORATION)


def test_a_node_that_is_restored_lets_nobody_in_and_touches_no_role_or_database() -> None:
    context = NodeContext(FORK, FORK.nodes[0], SITE)
    assert context.kinds == {NodeKind.RESTORING, NodeKind.PLAIN}
    assert context.networks == ()
    assert [program.name for program in context.programs] == ["PostgreSQL"]
    on = {part.name for part in NODE_PARTS if part.is_on(context)}
    assert "restore" in on
    assert "PostgreSQL" in on
    assert not on & {"roles", "databases", "grants", "upgrade", "slots", "PgBouncer", "pooler access"}


def test_the_status_says_that_it_is_restored() -> None:
    assert status(FORK, None) is ClusterStatus.FORKING
    own = msgspec.structs.replace(RESTORATION, fork=False)
    assert status(msgspec.structs.replace(CLUSTER, restoration=own), None) is ClusterStatus.MIGRATING


def test_nothing_follows_before_the_data_have_their_name() -> None:
    context = NodeContext(FORK, FORK.nodes[0], SITE)
    state = RestoreState(asked_at=AT, reason="replaying WAL, 12 %")
    done = RestoreState(asked_at=AT, restored=Restored(asked_at=AT))
    assert list(restore.plan(context, Seen(has_data=False))) == [Wait("its data are about to be restored")]
    assert list(restore.plan(context, Seen(has_data=False, state=state))) == [Wait("replaying WAL, 12 %")]
    assert list(restore.plan(context, Seen(has_data=True, state=done))) == []
    assert restore.report(context, Seen(has_data=True, state=done)) == {"restored": done.restored}
    assert restore.report(context, Seen(has_data=False, state=done)) == {"restored": None}
    [refusal] = restore.plan(context, Seen(has_data=True, state=state))
    assert isinstance(refusal, Refuse)
    assert "left as they are" in refusal.reason


def test_what_cannot_be_decrypted_is_told_without_it() -> None:
    files = "'/r/backup/s/backup.info' or '/r/backup/s/backup.info.copy'"
    message = f"[FormatError] unable to load info file {files}:\\nFormatError: at line 1: \x1b\x03\ufffd"
    status = f'{{"code":99,"message":"{message}"}}'
    text = f'[{{"name":"s","status":{status},"repo":[{{"status":{status}}}]}}]'
    problem = backup_info.parse(text, "s").problem
    assert problem == f"unable to load info file {files}: is the passphrase correct?"
