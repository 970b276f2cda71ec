"""Backups: the repository's URL, the files of pgBackRest, what it says, the schedule, and what is wrong."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cenote.agent import backup_runner, stanza_files
from cenote.conf import pgbackrest
from cenote.controller import plans
from cenote.engine.plan import backups as backups_plan
from cenote.engine.plan.backups import Seen
from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError, Misconfigured
from cenote.host import system
from cenote.model.backups import Backup, BackupReport, BackupType, Loss, Repository, RepositoryKind
from cenote.model.changes import Remove, WriteFile
from cenote.model.fleet_records import Host
from cenote.model.host_backups import HostBackups
from cenote.model.record import Secret
from cenote.model.records import BackupPlan, Cluster, Configuration
from cenote.model.status_records import DiskUse, NodeStatus
from cenote.model.topology import reported_health
from cenote.rules import (
    archiving,
    backup_info,
    backup_schedule,
    record_formats,
    repositories,
    repository_space,
    restarts,
    storage,
)
from cenote.rules.archiving import Archiver
from cenote.server import backup_repository
from cenote.server.backup_settings import BackupSettings
from cenote.store.encoding import encode, format_of
from tests.support.etcd import bare_cluster
from tests.support.wanted import WANTED

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
PLAN = BackupPlan(sealed_passphrase="sealed")
CLUSTER = replace(
    bare_cluster("one", 10_000),
    backups=PLAN,
    configuration=Configuration(unused={"backup_hour": 3, "backup_minute": 30}),
)
DIRECTORY = Repository(RepositoryKind.FILE, PurePosixPath("/srv/backups"))
CREDENTIALS = {"key": Secret("AKIA"), "secret": Secret("hush"), "token": Secret("tok")}


# -- The URL and the credentials


def test_without_a_url_backups_are_kept_below_the_data_directory_whatever_its_path() -> None:
    settings = BackupSettings(own=Path("/srv/data of us/backups"))
    assert settings.repository == Repository(RepositoryKind.FILE, PurePosixPath("/srv/data of us/backups"))
    assert settings.is_default
    settings.check(Path("/srv/data of us"), ephemeral=False)
    assert BackupSettings().repository is None
    assert not BackupSettings("file:///srv/backups").is_default


def test_a_default_that_cannot_work_degrades_no_cluster_and_one_that_was_asked_for_does() -> None:
    impossible = BackupReport(impossible="pgBackRest is not installed on its host")
    for by_default, health in ((True, "healthy"), (False, "degraded")):
        report = NodeStatus(reached=1, tried=1, at=NOW, backups=replace(impossible, by_default=by_default))
        assert reported_health(report) == health


def test_backups_pause_before_the_archive_does_and_that_before_writes_are_refused() -> None:
    gib = 1024
    uses = [DiskUse(used_mib=0, free_mib=free, disk_mib=100 * gib) for free in (4096, 4095, 2047, 1023)]
    assert [bool(repository_space.pause(use)) for use in uses] == [False, True, True, True]
    assert [use.free_mib < repository_space.least_free_mib(use) for use in uses] == [False, False, True, True]
    assert [storage.refuses_writes(use, 10**6, refused=False) for use in uses] == [False, False, False, True]
    assert "4095 MiB left" in repository_space.pause(uses[1])


def test_a_directory() -> None:
    assert repositories.parse("file:///srv//backups") == DIRECTORY
    assert DIRECTORY.in_words == "file:///srv/backups"


def test_a_bucket_has_the_endpoint_of_its_region_unless_it_names_one() -> None:
    found = repositories.parse("s3://my-bucket/some/prefix?region=eu-1")
    assert found == Repository(
        RepositoryKind.S3,
        PurePosixPath("/some/prefix"),
        bucket="my-bucket",
        endpoint="s3.eu-1.amazonaws.com",
        region="eu-1",
    )
    assert found.in_words == "s3://my-bucket/some/prefix"
    named = repositories.parse("s3://my-bucket?endpoint=localhost:9000&uri-style=path&ca=/etc/ca.pem")
    assert named is not None
    assert (named.endpoint, named.by_path, named.authority) == ("localhost:9000", True, "/etc/ca.pem")
    assert named.in_words == "s3://my-bucket"


def test_an_sftp_server_is_known_by_a_fingerprint_or_a_file() -> None:
    digest = hashlib.sha256(b"key").digest()
    printed = base64.b64encode(digest).decode().rstrip("=")
    for fingerprint in (f"SHA256:{printed}", digest.hex(), digest.hex().upper()):
        found = repositories.parse(f"sftp://me@host:2222/srv/b?fingerprint={fingerprint}")
        assert found == Repository(
            RepositoryKind.SFTP,
            PurePosixPath("/srv/b"),
            endpoint="host:2222",
            user="me",
            fingerprint=digest.hex(),
        )
    assert found is not None
    assert found.in_words == "sftp://me@host:2222/srv/b"
    text = pgbackrest.render(found, {}, state=Path("/s"), days=7, key=Path("/k"))
    assert "repo1-sftp-host-key-check-type=fingerprint\n" in text
    assert "repo1-sftp-host-port=2222\n" in text
    known = repositories.parse("sftp://me@host/srv/b?known-hosts=/etc/hosts.known")
    assert known is not None
    assert (known.known_hosts, known.fingerprint) == ("/etc/hosts.known", "")
    text = pgbackrest.render(known, {}, state=Path("/s"), days=7, key=Path("/k"))
    assert "repo1-sftp-host-key-check-type=strict\n" in text
    assert "repo1-sftp-host-port=22\n" in text
    assert "fingerprint" not in text


def _made_key(folder: Path, kind: str, form: str, passphrase: str) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-m", form, "-N", passphrase, "-f", folder / "key"], check=True
    )
    return (folder / "key").read_text()


needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
KINDS = pytest.mark.parametrize(
    ("kind", "form"), [("ed25519", "RFC4716"), ("rsa", "RFC4716"), ("rsa", "PEM"), ("ecdsa", "PKCS8")]
)


@needs_ssh_keygen
@KINDS
def test_a_private_key_is_taken_as_it_is(tmp_path: Path, kind: str, form: str) -> None:
    text = _made_key(tmp_path, kind, form, "")
    found = repositories.parse_private_key(text)
    assert pgbackrest.private_key(found) == text.encode()
    assert "PRIVATE" not in repr(found)


@needs_ssh_keygen
@KINDS
def test_a_private_key_with_a_passphrase_is_refused(tmp_path: Path, kind: str, form: str) -> None:
    with pytest.raises(ValueError, match="needs a passphrase"):
        repositories.parse_private_key(_made_key(tmp_path, kind, form, "long enough"))


@pytest.mark.parametrize("text", ["", "key = a\nsecret = b", "ssh-ed25519 AAAA me"], ids=range(3))
def test_what_is_no_private_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no private key"):
        repositories.parse_private_key(text)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "it must be none, or a URL"),
        ("/srv/backups", "it must be none, or a URL"),
        ("ftp://host/path", "it must be none, or a URL"),
        ("sftp://host/path", "the user that logs in"),
        ("sftp://me:secret@host/path", "no credentials"),
        ("sftp://me@host/path", "how the server's key is known"),
        ("sftp://me@host/path?fingerprint=", "64 hexadecimal digits"),
        ("sftp://me@host/path?fingerprint=MD5:00", "64 hexadecimal digits"),
        ("sftp://me@host/path?fingerprint=none&known-hosts=/a", "how the server's key is known"),
        ("sftp://me@host/path?known-hosts=relative", "absolute path"),
        ("sftp://me@host/path?check=none", "'check' is none of its options"),
        ("sftp://me@host/?known-hosts=/a", "a directory below /"),
        ("sftp://me@ho st/path?known-hosts=/a", "must name a host"),
        ("file://srv/backups", "three slashes"),
        ("file:///", "a directory below /"),
        ("file:///srv/../etc", "without .."),
        ("file:///srv/a b", "absolute path"),
        ("file:///srv/a%0Ab", "absolute path"),
        ("s3://key:secret@bucket/x", "no credentials"),
        ("s3://B/x", "name of a bucket"),
        ("s3://bucket/x?colour=red", "'colour' is none of its options"),
        ("s3://bucket/x?endpoint=a b", "endpoint must be a host"),
        ("s3://bucket/x?uri-style=other", "host or path"),
        ("s3://[bucket/x", "it must be none, or a URL"),
    ],
    ids=range(24),
)
def test_what_is_no_url_of_a_repository_is_refused_in_words(url: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as refused:
        repositories.parse(url)
    assert part in str(refused.value)


def test_credentials_are_read_and_hidden() -> None:
    found = repositories.parse_credentials("# mine\nkey = AKIA\n\nsecret=hush\ntoken =tok\n")
    assert found == CREDENTIALS
    assert "hush" not in repr(found)


@pytest.mark.parametrize("text", ["", "key = a\n", "key = a\nsecret\n", "key = a\nsecret = b\nhost = c\n"])
def test_credentials_that_lack_something_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        repositories.parse_credentials(text)


def test_a_file_of_credentials_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("key = AKIA\nsecret = hush\n")
    file.chmod(0o640)
    settings = BackupSettings("s3://bucket/x", file)
    with pytest.raises(Misconfigured, match="chmod 600"):
        settings.check(tmp_path / "data", ephemeral=False)
    file.chmod(0o600)
    settings.check(tmp_path / "data", ephemeral=False)
    assert settings.credentials()["key"] == Secret("AKIA")


@pytest.mark.parametrize(
    ("url", "ephemeral", "part"),
    [
        ("file:///data/cenote", False, "must not be the data directory"),
        ("file:///data", False, "must not be the data directory"),
        ("file:///data/cenote/clusters", False, "must not be the data directory"),
        ("file:///srv/backups", True, "leave --ephemeral out"),
        ("s3://bucket/x", False, "needs --backups-credentials"),
        ("nonsense", False, "--backups: it must be"),
    ],
    ids=["itself", "around", "inside", "ephemeral", "no credentials", "nonsense"],
)
def test_what_cannot_work_is_refused_at_the_start(url: str, ephemeral: bool, part: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        BackupSettings(url).check(Path("/data/cenote"), ephemeral=ephemeral)
    assert part in str(refused.value)


def test_a_folder_of_its_own_below_the_data_directory_is_allowed() -> None:
    BackupSettings("file:///data/cenote/backups").check(Path("/data/cenote"), ephemeral=False)


# -- The files


def test_the_configuration_of_a_directory() -> None:
    text = pgbackrest.render(
        DIRECTORY,
        {},
        state=Path("/d/state"),
        days=7,
        stanza="one",
        passphrase=Secret("long"),
        server=pgbackrest.Server(Path("/d/pg"), 25060, Path("/d/run")),
        queue_mib=300,
    )
    lines = text.splitlines()
    for line in (
        *("repo1-path=/srv/backups", "repo1-cipher-pass=long", "repo1-retention-full=7"),
        *("archive-mode-check=n", "archive-push-queue-max=300MiB", "lock-path=/d/state"),
    ):
        assert line in lines[: lines.index("[one]")]
    assert lines[lines.index("[one]") + 1 :] == [
        "pg1-path=/d/pg",
        "pg1-port=25060",
        "pg1-socket-path=/d/run",
        "pg1-user=postgres",
    ]


def test_the_configuration_of_a_bucket() -> None:
    repository = repositories.parse("s3://bucket/x?endpoint=host:9000&region=r&uri-style=path")
    assert repository is not None
    lines = pgbackrest.render(repository, CREDENTIALS, state=Path("/s"), days=35).splitlines()
    for line in (
        *("repo1-type=s3", "repo1-s3-bucket=bucket", "repo1-s3-endpoint=host", "repo1-storage-port=9000"),
        *("repo1-s3-key=AKIA", "repo1-s3-key-secret=hush", "repo1-s3-token=tok", "repo1-path=/x"),
        *("repo1-s3-uri-style=path", "repo1-s3-region=r"),
    ):
        assert line in lines


def test_the_archive_command_has_the_name_that_pgbackrest_looks_for_and_no_placeholder_but_its_own() -> None:
    command = pgbackrest.archive_command(Path("/data 100%/pgbackrest/archive"))
    assert command == "'/data 100%%/pgbackrest/archive' %p"


# -- What a pass writes

KEPT = HostBackups(
    repository=DIRECTORY,
    days=7,
    program=Path("/usr/bin/pgbackrest"),
    newest=18,
    credentials={},
    open=lambda _: Secret("long"),
)


def kept_context(*, was_online: bool, kept: HostBackups | None = KEPT) -> NodeContext:
    site = dataclasses.replace(WANTED.host, backups=kept)
    cluster = replace(WANTED.cluster, backups=PLAN)
    return dataclasses.replace(WANTED, cluster=cluster, host=site, was_online=was_online)


def written(context: NodeContext, seen: Seen) -> list[str]:
    changes = list(backups_plan.plan(context, seen))
    assert all(isinstance(change, WriteFile) for change in changes)
    return [change.path.name for change in changes if isinstance(change, WriteFile)]


NOTHING = Seen(files={}, modes={}, is_there=True, passphrase=Secret("long"))


def test_a_server_that_was_online_without_the_script_has_a_gap_before_it_has_the_script() -> None:
    assert written(kept_context(was_online=True), NOTHING) == [pgbackrest.GAP, "pgbackrest.conf", "archive"]


def test_a_new_server_has_no_gap_and_neither_has_one_whose_script_changes() -> None:
    assert written(kept_context(was_online=False), NOTHING) == ["pgbackrest.conf", "archive"]
    context = kept_context(was_online=True)
    there = dataclasses.replace(NOTHING, files={context.cluster_paths.archive_script: b"former"})
    assert written(context, there) == ["pgbackrest.conf", "archive"]


def test_without_the_passphrase_wal_is_dropped_and_what_is_there_stays() -> None:
    context, unopened = kept_context(was_online=True), dataclasses.replace(NOTHING, passphrase=None)
    [change] = backups_plan.plan(context, unopened)
    assert isinstance(change, WriteFile)
    assert change.path == context.cluster_paths.archive_script
    assert b"pgbackrest.conf" not in change.content
    there = dataclasses.replace(unopened, files={context.cluster_paths.archive_script: b"former"})
    assert list(backups_plan.plan(context, there)) == []


def test_what_was_archived_before_a_gap_is_read_unless_a_segment_does_not_say(tmp_path: Path) -> None:
    gap, aside = tmp_path / pgbackrest.GAP, tmp_path / pgbackrest.COVERED_GAP
    assert backup_runner.archived_before_gap(tmp_path) is None
    gap.write_text("0000000100000000000000A1 1700000100\n0000000100000000000000A2 1700000100\n")
    assert backup_runner.archived_before_gap(tmp_path) == datetime.fromtimestamp(1700000099, UTC)
    aside.write_text("0000000100000000000000A0 1700000050\n")
    assert backup_runner.archived_before_gap(tmp_path) == datetime.fromtimestamp(1700000049, UTC)
    for other in ("0000000100000000000000A3\n", "no backups\n", "x 99999999999999\n"):
        aside.write_text(other)
        assert backup_runner.archived_before_gap(tmp_path) is None


def test_losses_are_kept_until_no_backup_is_from_before_them() -> None:
    def ago(hours: float) -> datetime:
        return NOW - timedelta(hours=hours)

    report = backup_schedule.with_loss(BackupReport(backups=(full(48),)), ago(40), ago(41))
    assert report.losses == (Loss(at=ago(40), since=ago(41)),)
    report = backup_schedule.with_loss(report, ago(39), ago(39.5))  # more of the same
    assert report.losses == (Loss(at=ago(39), since=ago(41)),)
    report = replace(report, backups=(full(48), full(30)))
    assert backup_schedule.with_loss(report, None) == report
    report = backup_schedule.with_loss(report, ago(20))
    assert report.losses == (Loss(at=ago(39), since=ago(41)), Loss(at=ago(20)))
    assert report.gap_at == ago(20)
    report = backup_schedule.with_loss(replace(report, backups=(full(30),)), None)
    assert report.losses == (Loss(at=ago(20)),)


def test_the_loss_of_an_earlier_version_is_kept() -> None:
    before = BackupReport(backups=(full(48), full(30)), gap_at=NOW - timedelta(hours=40))
    report = backup_schedule.with_loss(before, NOW, NOW)
    assert [loss.since for loss in report.losses] == [None, NOW]


def test_of_very_many_losses_the_oldest_count_as_one() -> None:
    report = BackupReport(backups=(full(1000),))
    for hours in range(900, 100, -10):
        report = backup_schedule.with_loss(report, NOW - timedelta(hours=hours), NOW - timedelta(hours=hours))
        report = replace(report, backups=(*report.backups, full(hours - 5)))
    assert len(report.losses) <= 50
    assert report.losses[0].since == NOW - timedelta(hours=900)


def test_a_host_that_keeps_none_removes_what_pgbackrest_had() -> None:
    context = kept_context(was_online=True, kept=None)
    assert list(backups_plan.plan(context, NOTHING)) == [Remove(context.cluster_paths.backups)]


def test_a_gap_that_is_covered_is_put_aside_and_then_removed_unless_more_is_lost(tmp_path: Path) -> None:
    gap, aside = tmp_path / pgbackrest.GAP, tmp_path / pgbackrest.COVERED_GAP
    covered = BackupReport(backups=(full(1),))

    def lost(path: Path, hours_ago: float) -> datetime:
        at = NOW - timedelta(hours=hours_ago)
        path.touch()
        os.utime(path, (at.timestamp(), at.timestamp()))
        return at

    at = lost(gap, 0.5)
    assert backup_runner.gap_at(tmp_path, covered) == at
    assert gap.exists()
    lost(gap, 2)
    assert backup_runner.gap_at(tmp_path, covered) is None
    assert (gap.exists(), aside.exists()) == (False, True)
    at = lost(aside, 0.5)  # the script was just writing to it
    assert backup_runner.gap_at(tmp_path, covered) == at
    at = lost(gap, 0.4)
    assert backup_runner.gap_at(tmp_path, covered) == at
    lost(aside, 2)
    lost(gap, 1.5)
    assert backup_runner.gap_at(tmp_path, covered) is None
    assert (gap.exists(), aside.exists()) == (False, True)
    assert backup_runner.gap_at(tmp_path, covered) is None
    assert not aside.exists()


def test_wal_that_waits_for_the_archive_does_not_count_as_used(tmp_path: Path) -> None:
    status = tmp_path / "pg_wal" / "archive_status"
    status.mkdir(parents=True)
    for name in ("000000010000000000000001", "000000010000000000000002"):
        (tmp_path / "pg_wal" / name).write_bytes(b"x" * 2**21)
    assert system.disk_use(tmp_path).used_mib == 4
    (status / "000000010000000000000001.done").touch()
    (status / "000000010000000000000002.ready").touch()
    (status / "000000010000000000000003.ready").touch()  # just removed
    assert system.disk_use(tmp_path).used_mib == 2


def test_a_repository_is_not_made_where_a_disk_is_to_be_mounted(tmp_path: Path) -> None:
    with pytest.raises(CenoteError, match="is it mounted"):
        backup_repository.make(tmp_path / "disk" / "repository", None)
    assert not (tmp_path / "disk").exists()
    backup_repository.make(tmp_path / "repository", None)
    assert (tmp_path / "repository").is_dir()


# -- What pgBackRest says


def info(code: int = 0, message: str = "ok", lock: dict[str, Any] | None = None) -> str:
    def backup(label: str, type: str, start: int) -> dict[str, Any]:
        return {
            "label": label,
            "type": type,
            "error": False,
            "timestamp": {"start": start, "stop": start + 10},
            "info": {"size": 100, "delta": 100, "repository": {"size": 30, "delta": 10}},
        }

    stanza = {
        "name": "one",
        "db": [{"id": 1, "version": "15"}],
        "backup": [backup("b", "diff", 200), backup("a", "full", 100)],
        "repo": [{"key": 1, "status": {"code": code, "message": message}}],
        "status": {"code": code, "message": message, "lock": {"backup": lock or {"held": False}}},
    }
    return msgspec.json.encode([stanza]).decode()


def test_the_backups_of_a_stanza_the_oldest_first() -> None:
    found = backup_info.parse(info(), "one")
    assert [(one.label, one.type) for one in found.backups] == [
        ("a", BackupType.FULL),
        ("b", BackupType.DIFFERENTIAL),
    ]
    assert found.backups[0].stopped_at == datetime.fromtimestamp(110, UTC)
    assert (found.backups[0].size, found.backups[0].repository_size) == (100, 10)
    assert (found.is_made, found.problem, found.progress) == (True, "", None)


def test_a_stanza_that_is_not_there() -> None:
    assert not backup_info.parse(info(1, "missing stanza path"), "one").is_made
    assert not backup_info.parse("[]", "one").is_made


def test_a_repository_that_cannot_be_read_says_why() -> None:
    found = backup_info.parse(info(99, "other: [PathOpenError] unable to list\nHINT: what"), "one")
    assert found.is_made
    assert found.problem == "other: [PathOpenError] unable to list HINT: what"


def test_how_far_a_backup_is_where_pgbackrest_tells_it() -> None:
    assert backup_info.parse(info(lock={"held": True}), "one").progress is None
    assert backup_info.parse(info(lock={"held": True, "size": 200, "size-cplt": 50}), "one").progress == 25.0


def test_what_is_not_of_pgbackrest_is_refused() -> None:
    with pytest.raises(ValueError, match="something else"):
        backup_info.parse("nonsense", "one")


def test_an_error_that_ends_in_a_colon_is_told_by_its_cause() -> None:
    said = (
        "P00  ERROR: [103]: unable to find a valid repository:\n"
        "       repo1: [FileMissingError] unable to load info file '/a' or '/a.copy':\n"
        "       HostConnectError: unable to connect to 'host:1': [111] Connection refused\n"
    )
    why = "unable to load info file '/a': unable to connect to 'host:1': [111] Connection refused"
    assert backup_info.error_of(said) == (103, why)
    spoilt = "ERROR: [029]: unable to load info file '/a' or '/a.copy':\n       FormatError: line 1: \x13뭠\n"
    assert backup_info.error_of(spoilt) == (29, "unable to load info file '/a': line 1: ??")
    refused = "ERROR: [039]: HTTP request failed with 403 (Forbidden):\n*** Path/Query ***:\nHEAD /x\n"
    assert backup_info.error_of(refused) == (39, "HTTP request failed with 403 (Forbidden)")
    assert backup_info.error_of("ERROR: [039]: nothing follows:") == (39, "nothing follows")


def test_the_size_of_an_archive() -> None:
    text = '{".":{"type":"path"},"a":{"type":"path"},"a/b":{"type":"file","size":7,"time":1},"c":{"size":1}}'
    assert backup_info.bytes_of(text) == 8
    assert backup_info.bytes_of("{}") == 0
    with pytest.raises(ValueError, match="something else"):
        backup_info.bytes_of("none")


def test_what_a_backup_that_was_ended_has_left_is_removed_and_nothing_else() -> None:
    asked: list[str] = []
    id = CLUSTER.id

    async def ask(*arguments: str) -> str:
        asked.append(" ".join(arguments))
        return "20261129-120000F\n20261129-120000F_20261130-120000D\n20261201-120000F\nbackup.info\n../x\n"

    complete = ["20261129-120000F", "20261129-120000F_20261130-120000D"]
    asyncio.run(stanza_files.remove_unfinished(ask, id, complete))
    assert asked[1:] == [f"--recurse repo-rm backup/{id}/20261201-120000F"]


def test_the_error_of_a_command() -> None:
    said = (
        "P00   WARN: something\nERROR: [050]: unable to acquire lock on file\n       HINT: is it running?\n"
    )
    assert backup_info.error_of(said) == (50, "unable to acquire lock on file")
    assert backup_info.error_of("") == (0, "")


# -- The schedule


def backup(type: BackupType, started_at: datetime) -> Backup:
    return Backup(
        label="x",
        type=type,
        started_at=started_at,
        stopped_at=started_at + timedelta(minutes=1),
        size=1,
        repository_size=1,
    )


def full(hours_ago: float) -> Backup:
    return backup(BackupType.FULL, NOW - timedelta(hours=hours_ago))


def test_the_first_backup_is_a_full_one_at_once() -> None:
    assert backup_schedule.due(CLUSTER, BackupReport(), NOW) is BackupType.FULL


@pytest.mark.parametrize(
    ("backups", "expected"),
    [
        ((full(8),), None),  # at 4:00, after 3:30
        ((full(9),), BackupType.DIFFERENTIAL),  # at 3:00
        ((full(6 * 24 + 9),), BackupType.DIFFERENTIAL),
        ((full(7 * 24 + 8.6),), BackupType.FULL),
    ],
    ids=["done", "due", "within a week", "after a week"],
)
def test_a_backup_is_due_daily_and_a_full_one_weekly(
    backups: tuple[Backup, ...], expected: BackupType | None
) -> None:
    assert backup_schedule.due(CLUSTER, BackupReport(backups=backups), NOW) is expected


def test_one_that_is_asked_for_is_due_until_it_was_begun() -> None:
    asked = replace(CLUSTER, backups=replace(PLAN, asked_at=NOW - timedelta(hours=1)))
    assert backup_schedule.due(asked, BackupReport(backups=(full(2),)), NOW) is BackupType.DIFFERENTIAL
    assert backup_schedule.due(asked, BackupReport(backups=(full(0.5),)), NOW) is None


def test_after_lost_wal_a_full_one_is_due_at_once() -> None:
    report = BackupReport(backups=(full(2),), gap_at=NOW - timedelta(hours=1))
    assert backup_schedule.due(CLUSTER, report, NOW) is BackupType.FULL
    later = replace(report, backups=(full(2), full(0.5)))
    assert backup_schedule.due(CLUSTER, later, NOW) is None


def test_a_gap_is_shown_while_something_from_before_it_can_be_restored() -> None:
    gap_at = NOW - timedelta(hours=1)
    assert backup_schedule.shown_gap(BackupReport(backups=(full(2), full(0.5)), gap_at=gap_at)) == gap_at
    assert backup_schedule.shown_gap(BackupReport(backups=(full(0.5),), gap_at=gap_at)) is None
    assert backup_schedule.shown_gap(BackupReport(gap_at=gap_at)) is None


def test_a_backup_that_was_asked_for_stands_for_the_next_ten_minutes_unless_it_failed() -> None:
    def asked(minutes: float) -> Cluster:
        return replace(CLUSTER, backups=replace(PLAN, asked_at=NOW - timedelta(minutes=minutes)))

    assert backup_schedule.recently_asked(CLUSTER, BackupReport(), NOW) is None
    assert backup_schedule.recently_asked(asked(9), BackupReport(), NOW) == NOW - timedelta(minutes=9)
    assert backup_schedule.recently_asked(asked(10), BackupReport(), NOW) is None
    failed = BackupReport(failure="no space", failed_at=NOW - timedelta(minutes=8))
    assert backup_schedule.recently_asked(asked(9), failed, NOW) is None
    assert backup_schedule.recently_asked(asked(7), failed, NOW) is not None


def test_a_restart_that_is_waited_for_is_told_with_the_command_that_makes_it() -> None:
    assert archiving.waits_for_restart(archiving.problem(Archiver("off", None, None)))
    assert not archiving.waits_for_restart(archiving.problem(Archiver("always", None, NOW)))
    told = archiving.with_remedy(f"no backups: {archiving.NO_BACKUPS_YET}")
    assert told.endswith("in the maintenance window; 'cenote cluster install-update' makes it at once")
    assert archiving.with_remedy("not archived yet") == "not archived yet"


def test_of_very_many_backups_the_ends_and_the_last_full_one_are_reported() -> None:
    many = tuple(
        backup(
            BackupType.FULL if hours in (900, 500) else BackupType.DIFFERENTIAL, NOW - timedelta(hours=hours)
        )
        for hours in range(1000, 0, -1)
    )
    found = backup_info.reported(many)
    assert len(found) == backup_info.MOST + 1
    assert (found[0], found[-1]) == (many[0], many[-1])
    assert [one for one in found if one.type is BackupType.FULL][-1] == many[500]
    assert backup_info.reported(many[:200]) == many[:200]


def test_the_time_of_day_is_the_chosen_one_or_follows_from_the_id() -> None:
    assert backup_schedule.time_of_day(CLUSTER) == (3, 30)
    assert backup_schedule.last_time(CLUSTER, NOW) == datetime(2026, 11, 29, 3, 30, tzinfo=UTC)
    assert backup_schedule.next_time(CLUSTER, NOW) == datetime(2026, 11, 30, 3, 30, tzinfo=UTC)
    unset = replace(CLUSTER, configuration=Configuration())
    assert backup_schedule.time_of_day(unset) == divmod(unset.id.int % 1440, 60)


# -- Archiving


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Archiver("always", None, None), ""),
        (Archiver("always", NOW, NOW - timedelta(1)), ""),
        (Archiver("off", None, None), archiving.NO_BACKUPS_YET),
        (Archiver("always", None, NOW, "disk full"), "not archived yet: disk full"),
        (
            Archiver("always", None, NOW, "…/archive.info': unable to open missing file '…/archive.info'"),
            "not archived yet: the repository has nothing of this cluster yet",
        ),
        (
            Archiver("always", NOW - timedelta(hours=1), NOW, "disk full"),
            "not archived since 2026-11-29 11:00:00 UTC: disk full",
        ),
    ],
    ids=["nothing yet", "archived since", "off", "never", "no stanza yet", "not any more"],
)
def test_why_wal_is_not_archived(seen: Archiver, expected: str) -> None:
    assert archiving.problem(seen) == expected


def test_wal_that_was_dropped_counts_as_archived_for_the_server_alone() -> None:
    known = NOW - timedelta(hours=1)
    seen = Archiver("always", NOW, NOW - timedelta(minutes=1), "no space", failing=True)
    assert archiving.archived_at(seen, known) == known
    assert archiving.problem(seen, known) == "not archived since 2026-11-29 11:00:00 UTC: no space"
    assert archiving.archived_at(dataclasses.replace(seen, failing=False), known) == NOW


def test_a_server_without_archiving_is_restarted_in_the_window_only_if_it_is_backed_up() -> None:
    pending = {"archive_mode": "off"}
    assert restarts.urgencies(CLUSTER, pending) == {"archive_mode": restarts.Urgency.WINDOW}
    without = replace(CLUSTER, backups=None)
    assert restarts.urgencies(without, pending) == {"archive_mode": restarts.Urgency.NEXT}
    assert restarts.former_settings(without)["archive_mode"] == "off"
    assert "archive_mode" not in restarts.former_settings(CLUSTER)


# -- The record


def host(reads: int, repository: str) -> Host:
    return Host(
        id="h",
        name="h",
        address="h",
        memory_mib=1,
        cpus=1,
        versions={},
        first_port=1,
        last_port=2,
        reads=reads,
        repository=repository,
    )


@pytest.mark.parametrize(
    ("reads", "repository", "expected"),
    [
        (record_formats.HIGHEST, "file:///srv", PLAN),
        (record_formats.HIGHEST, "", None),
        (record_formats.WITH_MOVES, "file:///srv", None),
    ],
    ids=["kept", "not kept", "an earlier version"],
)
def test_the_controller_plans_backups_where_they_are_kept_and_every_host_reads_it(
    reads: int, repository: str, expected: BackupPlan | None
) -> None:
    cluster: Cluster = replace(bare_cluster("one", 10_000), backups=None)
    hosts = {node.host: host(reads, repository) for node in cluster.nodes}
    assert plans.with_backups(cluster, hosts, lambda: PLAN).backups == expected
    assert plans.with_backups(CLUSTER, hosts, lambda: BackupPlan(sealed_passphrase="other")) is CLUSTER


def test_a_cluster_with_backups_is_written_in_a_format_that_no_earlier_version_loses_the_key_of() -> None:
    assert format_of(encode(CLUSTER)) == record_formats.WITH_BACKUPS
    assert format_of(encode(replace(CLUSTER, backups=None))) < record_formats.WITH_BACKUPS
    assert "sealed" not in repr(CLUSTER.backups).replace("sealed_passphrase", "")
