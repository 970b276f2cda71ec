"""The script that PostgreSQL archives with, beside a script that says what pgBackRest would."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from cenote.conf import pgbackrest
from cenote.rules import lineages
from tests.support.waiting import wait_until

QUEUE_MIB = 256
OWN, OLDER, NEWER = "20260102T000000Z-00000001", "20260101T235959Z-ffffffff", "20260102T000000Z-00000002"
SEGMENT = "000000010000000000000003"
LATER = "000000010000000000000004"
# It answers from files in its folder: what is in the archive, and what a push says and ends with.
STAND_IN = """#!/bin/sh
cd {folder}
echo "$@" >> calls
case "$*" in
    *"repo-ls archive/one --filter"*) echo 15-1 ;;
    *"repo-ls cenote/lineages/one"*) cat marks; exit "$(cat marks-code)" ;;
    *repo-ls*) case "$*" in *"$(cat archived)"*) echo found ;; esac ;;
    *archive-push*) cat said; exit "$(cat code)" ;;
esac
"""


@dataclass
class Archive:
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "pg"

    def run(self, name: str = SEGMENT) -> int:
        done = subprocess.run(
            [self.folder / "archive", f"pg_wal/{name}"], cwd=self.data, capture_output=True, check=False
        )
        return done.returncode

    def say(self, said: str, code: int) -> None:
        (self.folder / "said").write_text(said)
        (self.folder / "code").write_text(str(code))

    def has_marks(self, *marks: str, said: str = "", code: int = 0) -> None:
        (self.folder / "marks").write_text("".join(f"{mark}\n" for mark in marks) + said)
        (self.folder / "marks-code").write_text(str(code))

    def shut_down(self, *, seconds_ago: float = 0) -> None:
        file, at = self.data / "postmaster.pid", time.time() - seconds_ago
        file.write_text("1\n/data\n0\n5432\n/run\n\n0\nstopping\n")
        os.utime(file, (at, at))

    def left(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text() if path.exists() else None

    @property
    def calls(self) -> str:
        return self.left("calls") or ""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.data.mkdir()
    (made.data / "postmaster.pid").write_text("1\n/data\n0\n5432\n/run\n\n0\nready   \n")
    program = tmp_path / "pgbackrest"
    program.write_text(STAND_IN.format(folder=tmp_path))
    script = tmp_path / "archive"
    script.write_text(
        pgbackrest.archive_script(
            program, tmp_path / "conf", "one", tmp_path, queue_mib=QUEUE_MIB, lineage=OWN
        )
    )
    for path in (program, script):
        path.chmod(0o700)
    (tmp_path / "archived").write_text("nothing")
    made.has_marks()
    made.say("", 0)
    return made


def test_a_writer_pushes_a_segment(archive: Archive) -> None:
    assert archive.run() == 0
    assert f"archive-push pg_wal/{SEGMENT}" in archive.calls
    assert archive.left(pgbackrest.FAILED) is None


@pytest.mark.parametrize("marks", [(), (OWN,), (OLDER,), (OLDER, OWN), (OWN, OLDER)], ids=str)
def test_a_server_archives_beside_marks_that_are_not_newer_than_its_own(
    archive: Archive, marks: tuple[str, ...]
) -> None:
    archive.has_marks(*marks, said="P00   WARN: something else\n")
    assert archive.run() == 0
    assert f"archive-push pg_wal/{SEGMENT}" in archive.calls


@pytest.mark.parametrize("marks", [(NEWER,), (NEWER, OWN), (OLDER, NEWER, OWN)], ids=str)
def test_the_server_of_a_cluster_that_was_recovered_elsewhere_archives_nothing(
    archive: Archive, marks: tuple[str, ...]
) -> None:
    archive.has_marks(*marks)
    assert archive.run() == 1
    assert "archive-push" not in archive.calls
    assert archive.left(pgbackrest.FAILED) == f"ERROR: [000]: {lineages.SUPERSEDED}\n"


def test_nothing_is_pushed_while_the_marks_cannot_be_read(archive: Archive) -> None:
    archive.has_marks(said="P00  ERROR: [103]: unable to find a valid repository\n", code=103)
    assert archive.run() == 1
    assert "archive-push" not in archive.calls
    assert archive.left(pgbackrest.FAILED) == "P00  ERROR: [103]: unable to find a valid repository\n"


def test_the_last_failure_is_left_until_a_push_succeeds(archive: Archive) -> None:
    archive.say("P00  ERROR: [047]: no space", 47)
    assert archive.run() == 1
    assert archive.left(pgbackrest.FAILED) == "P00  ERROR: [047]: no space\n"
    archive.say("", 0)
    assert archive.run() == 0
    assert archive.left(pgbackrest.FAILED) is None


def test_a_segment_that_was_dropped_is_left_as_a_gap_and_makes_nothing_well(archive: Archive) -> None:
    archive.say("P00  ERROR: [047]: no space", 47)
    assert archive.run() == 1
    archive.say("P00   WARN: dropped WAL file 'x' because archive queue exceeded 256MB", 0)
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) == f"{SEGMENT}\n"
    assert archive.left(pgbackrest.FAILED) == "P00  ERROR: [047]: no space\n"


def test_a_segment_that_was_dropped_tells_up_to_when_all_before_it_is_archived(archive: Archive) -> None:
    (archive.data / "pg_wal").mkdir()
    for name, at in ((SEGMENT, 1_700_000_000), (LATER, 1_700_000_050), (f"{LATER}.00000028.backup", 1)):
        file = archive.data / "pg_wal" / name
        file.touch()
        os.utime(file, (at, at))
    assert archive.run() == 0
    assert archive.run(f"{LATER}.00000028.backup") == 0
    archive.say("P00   WARN: dropped WAL file 'x' because archive queue exceeded 256MB", 0)
    assert archive.run(LATER) == 0
    assert archive.left(pgbackrest.GAP) == f"{LATER} 1700000000\n"


def test_a_segment_whose_gap_cannot_be_left_is_not_dropped(archive: Archive) -> None:
    (archive.folder / pgbackrest.GAP).mkdir()
    archive.say("P00   WARN: dropped WAL file 'x' because archive queue exceeded 256MB", 0)
    assert archive.run() == 1


def test_wal_beyond_the_limit_is_dropped_where_pgbackrest_cannot_be_run(archive: Archive) -> None:
    (archive.folder / "pgbackrest").unlink()
    status = archive.data / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for number in range(QUEUE_MIB // pgbackrest.SEGMENT_MIB + 4):
        (status / f"{number:024X}.ready").touch()
    assert archive.run() == 1
    assert archive.left(pgbackrest.FAILED) == "ERROR: [000]: pgBackRest cannot be run\n"
    (status / f"{99:024X}.ready").touch()
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) == f"{SEGMENT}\n"


def test_a_server_that_is_shut_down_does_not_wait_for_a_push_that_no_signal_ends(archive: Archive) -> None:
    program = archive.folder / "pgbackrest"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\ntouch {archive.folder}/begun\nexec sleep 600\n")
    running = subprocess.Popen([archive.folder / "archive", f"pg_wal/{SEGMENT}"], cwd=archive.data)
    wait_until("the push has begun", 60, (archive.folder / "begun").exists)
    assert running.poll() is None
    archive.shut_down()
    assert running.wait(timeout=60) == 1
    assert archive.left(pgbackrest.FAILED) is None  # what was cut short says nothing of the repository


def test_a_server_that_has_been_ending_for_a_while_pushes_nothing_more(archive: Archive) -> None:
    archive.shut_down(seconds_ago=30)
    assert archive.run() == 1
    assert archive.calls == ""


def test_without_a_passphrase_all_is_dropped_as_a_gap(archive: Archive) -> None:
    (archive.folder / "archive").write_text(pgbackrest.dropping_script(archive.folder))
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) == f"{SEGMENT}\n"
    assert archive.calls == ""


def test_a_standby_keeps_a_segment_until_it_is_in_the_archive(archive: Archive) -> None:
    (archive.data / "standby.signal").touch()
    assert archive.run() == 1
    (archive.folder / "archived").write_text(f"archive/one/15-1/{SEGMENT[:16]} --filter=^{SEGMENT}")
    assert archive.run() == 0
    assert "archive-push" not in archive.calls
    assert archive.run("00000002.history") == 1
    (archive.folder / "archived").write_text("archive/one/15-1 --filter=^00000002.history")
    assert archive.run("00000002.history") == 0


def test_of_what_a_standby_keeps_no_more_than_the_limit_waits(archive: Archive) -> None:
    (archive.data / "standby.signal").touch()
    status = archive.data / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for number in range(QUEUE_MIB // pgbackrest.SEGMENT_MIB + 4):
        (status / f"{number:024X}.ready").touch()
    assert archive.run() == 1
    assert archive.left(pgbackrest.GAP) is None
    (status / f"{99:024X}.ready").touch()
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) == f"{SEGMENT}\n"
    (archive.folder / pgbackrest.GAP).unlink()
    (archive.folder / "archived").write_text(f"archive/one/15-1/{SEGMENT[:16]} --filter=^{SEGMENT}")
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) is None


def test_nothing_is_pushed_onto_the_disk_of_the_data_when_that_is_nearly_full(archive: Archive) -> None:
    def script(disk: Path, least_free_mib: int) -> None:
        text = pgbackrest.archive_script(
            archive.folder / "pgbackrest",
            archive.folder / "conf",
            "one",
            archive.folder,
            queue_mib=QUEUE_MIB,
            disk=disk,
            least_free_mib=least_free_mib,
        )
        (archive.folder / "archive").write_text(text)

    script(archive.folder, 10**12)
    assert archive.run() == 1
    assert archive.calls == ""
    assert "the disk, which is that of the data, has" in (archive.left(pgbackrest.FAILED) or "")
    status = archive.data / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for number in range(QUEUE_MIB // pgbackrest.SEGMENT_MIB + 5):
        (status / f"{number:024X}.ready").touch()
    assert archive.run() == 0
    assert archive.left(pgbackrest.GAP) == f"{SEGMENT}\n"
    for disk, least in ((archive.folder, 1), (archive.folder / "missing", 10**12)):
        script(disk, least)
        assert archive.run() == 0
        assert archive.left(pgbackrest.FAILED) is None


def test_a_restored_copy_archives_nothing_before_it_is_a_server(archive: Archive) -> None:
    (archive.data / "recovery.signal").touch()
    assert archive.run() == 0
    assert archive.calls == ""


def test_a_segment_in_which_its_timeline_has_ended_is_waited_for_by_nobody(archive: Archive) -> None:
    """It is in the next timeline's; a standby of a promoted server has it as if it were complete."""
    wal = archive.data / "pg_wal"
    wal.mkdir()
    (wal / "00000002.history").write_text("1\t0/4000060\tno recovery target specified\n")
    (archive.data / "standby.signal").touch()
    assert archive.run(LATER) == 0
    assert archive.run(LATER.replace("00000001", "00000002", 1)) == 1  # of the timeline that goes on
    assert archive.run(SEGMENT) == 1  # this one is complete
    (archive.data / "standby.signal").unlink()
    assert archive.run(LATER) == 0
    assert "archive-push" not in archive.calls  # the former primary may have archived another one
    assert archive.run(f"{LATER}.partial") == 0
    assert archive.run("00000002.history") == 0
    assert archive.run(SEGMENT) == 0
    assert f"archive-push pg_wal/{SEGMENT}" in archive.calls


def test_a_standby_waits_for_nothing_where_its_writer_archives_elsewhere(archive: Archive) -> None:
    script = archive.folder / "archive"
    script.write_text(
        pgbackrest.archive_script(
            archive.folder / "pgbackrest", archive.folder / "conf", "one", archive.folder, shared=False
        )
    )
    (archive.data / "standby.signal").touch()
    assert archive.run() == 0
    assert archive.calls == ""
    (archive.data / "standby.signal").unlink()
    assert archive.run() == 0
    assert "archive-push" in archive.calls


def test_nodes_on_one_host_do_not_read_what_pgbackrest_said_to_another(archive: Archive) -> None:
    archive.run()
    other = archive.folder / "pg-node-2"
    archive.data.rename(other)
    subprocess.run([archive.folder / "archive", f"pg_wal/{SEGMENT}"], cwd=other, check=False)
    assert {path.name for path in archive.folder.glob("archive-said*")} == {
        "archive-said-pg",
        "archive-said-pg-node-2",
    }
