"""Repositories on servers: a bucket, and a directory by SFTP; away, slow, and with wrong credentials."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cenote.host import programs
from cenote.server import installation
from cenote.server.settings import ServeSettings
from cenote_client import BusyError, Client
from tests.support.backups import SECONDS, Kept
from tests.support.delaying_relay import DelayingRelay, delaying_relay
from tests.support.folders import server_folder
from tests.support.pgbackrest import FOUND, NEEDS_PGBACKREST, version
from tests.support.recovery import add, backed_up, kept, lose
from tests.support.s3_server import S3Server, s3_server
from tests.support.service import Service, online_cluster, service
from tests.support.ssh_server import PROGRAMS, SshServer, fingerprint_of, make_key, ssh_server
from tests.support.waiting import wait_until

pytestmark = NEEDS_PGBACKREST
NEWER = PROGRAMS / "trixie" / "usr" / "bin"  # Debian 13's pgBackRest


def started_with(running: Service, *options: str) -> None:
    running.end()
    running.add_options(*options)
    running.start()


def host_problem(running: Service) -> str:
    [host] = json.loads(running.cenote("host", "list", "-o", "json"))
    return str(host["backups"]["problem"])


def writes(kept: Kept) -> None:
    with psycopg.connect(kept.uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (n int)")
        connection.execute("INSERT INTO written VALUES (1)")


# -- A bucket


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with server_folder() as folder, s3_server(folder) as made:
        yield made


@pytest.fixture(scope="module")
def way(s3: S3Server) -> Iterator[DelayingRelay]:
    with delaying_relay(s3.port) as made:
        yield made


@pytest.fixture(scope="module")
def in_bucket(s3: S3Server, way: DelayingRelay) -> Iterator[Kept]:
    options = (f"--backups={s3.url('some/prefix', way.port)}", f"--backups-credentials={s3.credentials()}")
    with service(*options, clusters=2) as running, running.client() as client:
        cluster: Any = online_cluster(client, "one", version=version())
        yield Kept(running, s3.bucket / "some" / "prefix", client, cluster)


def test_a_bucket_takes_backups_and_wal_encrypted(in_bucket: Kept, s3: S3Server) -> None:
    found = wait_until("it is backed up", SECONDS, in_bucket.backups)
    assert found["cenote"]["repository"] == "s3://backups/some/prefix"
    assert found["cenote"]["warning"] == ""
    segment = in_bucket.switch()
    wait_until("WAL is archived", SECONDS, lambda: any(s3.bucket.glob(f"**/{segment}-*")))
    assert host_problem(in_bucket.running) == ""
    files = [path for path in s3.bucket.rglob("*") if path.is_file()]
    assert any("backup" in path.parts for path in files)
    assert not any(b"PG_VERSION" in path.read_bytes() for path in files)
    assert "can be written to" in in_bucket.running.run("doctor").stdout
    assert not any("cenote-check" in path.name for path in s3.bucket.rglob("*"))


def test_a_slow_bucket_holds_no_query_up_and_gets_its_backup(in_bucket: Kept, way: DelayingRelay) -> None:
    wait_until("it is backed up", SECONDS, in_bucket.backups)
    before, carried = len(in_bucket.types()), way.carried
    way.delay = 0.05
    try:
        in_bucket.client.databases.create_backup(in_bucket.id)
        wait_until("it is being made", SECONDS, lambda: in_bucket.backups()["cenote"]["running"])
        while len(in_bucket.types()) == before:
            writes(in_bucket)
        assert way.carried > carried
    finally:
        way.delay = 0.0
    assert in_bucket.backups()["cenote"]["failure"] == ""
    assert in_bucket.health() == ("healthy", "")


def test_a_bucket_that_goes_away_in_the_middle_of_a_backup_costs_that_and_no_query(
    in_bucket: Kept, s3: S3Server, way: DelayingRelay
) -> None:
    wait_until("it is backed up", SECONDS, in_bucket.backups)
    before = in_bucket.types()
    other: Any = online_cluster(in_bucket.client, "two", version=version())
    second = Kept(in_bucket.running, in_bucket.repository, in_bucket.client, other)
    way.delay = 0.02
    held = s3.bucket / "some" / "prefix" / "backup" / second.id
    wait_until("a backup has begun", SECONDS, lambda: any(held.glob("*/pg_data/**/*")))
    assert second.backups() is None
    s3.stop()
    way.cut()
    way.delay = 0.0
    try:
        in_bucket.switch()
        wait_until("it is degraded", SECONDS, lambda: in_bucket.health()[0] == "degraded")
        assert in_bucket.health()[1].startswith("not archived since 20")
        assert " UTC: " in in_bucket.health()[1]  # the reason
        writes(in_bucket)
        said = in_bucket.running.run("doctor")
        assert said.returncode == 1
        assert "error    the repository for backups cannot be used: " in said.stdout
    finally:
        s3.start()
    in_bucket.switch()
    wait_until("it is healthy", SECONDS, lambda: in_bucket.health() == ("healthy", ""))
    assert in_bucket.types()[: len(before)] == before
    assert in_bucket.backups()["cenote"]["gap_at"] is None
    wait_until("the other one is backed up after all", SECONDS, lambda: second.types() == ["full"])
    assert second.backups()["cenote"]["failure"] == ""


def test_credentials_that_are_wrong_are_told_and_right_ones_end_that(in_bucket: Kept, s3: S3Server) -> None:
    wait_until("it is backed up", SECONDS, in_bucket.backups)
    wrong = s3.credentials("wr0ng")
    started_with(in_bucket.running, f"--backups-credentials={wrong}")
    try:
        wait_until("the host says so", SECONDS, lambda: "cannot be used" in host_problem(in_bucket.running))
        assert "403" in host_problem(in_bucket.running)
        in_bucket.switch()
        wait_until("it is degraded", SECONDS, lambda: in_bucket.health()[0] == "degraded")
        assert "wr0ng" not in in_bucket.health()[1] + in_bucket.running.log()
        writes(in_bucket)
    finally:
        started_with(in_bucket.running, f"--backups-credentials={s3.credentials()}")
    in_bucket.switch()
    wait_until("it is healthy", SECONDS, lambda: in_bucket.health() == ("healthy", ""))
    assert host_problem(in_bucket.running) == ""


# -- A directory of an SFTP server


@pytest.fixture(scope="module")
def ssh() -> Iterator[SshServer]:
    if not NEWER.is_dir():
        pytest.skip("needs a pgBackRest with SFTP: make setup-tests")
    account = installation.server_account(ServeSettings()).name
    with server_folder() as folder, ssh_server(folder, account) as made:
        yield made


@pytest.fixture(scope="module")
def on_server(ssh: SshServer) -> Iterator[Kept]:
    options = (f"--backups={ssh.url('one')}", f"--backups-credentials={ssh.client_key}")
    path = {"PATH": f"{NEWER}:{os.environ['PATH']}"}
    with service(*options, clusters=1, environment=path) as running, running.client() as client:
        cluster: Any = online_cluster(client, "one", version=version())
        yield Kept(running, ssh.root / "one", client, cluster)


def test_an_sftp_server_takes_backups_and_wal(on_server: Kept, ssh: SshServer) -> None:
    found = wait_until("it is backed up", SECONDS, on_server.backups)
    assert found["cenote"]["repository"] == f"sftp://{ssh.account}@127.0.0.1:{ssh.port}{ssh.root}/one"
    segment = on_server.switch()
    wait_until("WAL is archived", SECONDS, lambda: on_server.has(segment))
    assert on_server.health() == ("healthy", "")
    key = on_server.paths.backup_key
    assert (key.read_text(), key.stat().st_mode & 0o777) == (ssh.client_key.read_text(), 0o600)


def test_an_sftp_server_that_goes_away_and_comes_back(on_server: Kept, ssh: SshServer) -> None:
    wait_until("it is backed up", SECONDS, on_server.backups)
    ssh.stop()
    try:
        on_server.switch()
        wait_until("it is degraded", SECONDS, lambda: on_server.health()[0] == "degraded")
        assert "127.0.0.1" in on_server.health()[1]
        writes(on_server)
    finally:
        ssh.start()
    on_server.switch()
    wait_until("it is healthy", SECONDS, lambda: on_server.health() == ("healthy", ""))


@pytest.mark.parametrize("case", ["fingerprint", "known hosts", "key"])
def test_another_server_or_key_than_the_one_that_is_known_gets_nothing(
    on_server: Kept, ssh: SshServer, case: str, tmp_path: Path
) -> None:
    wait_until("it is backed up", SECONDS, on_server.backups)
    right = (f"--backups={ssh.url('one')}", f"--backups-credentials={ssh.client_key}")
    with server_folder() as folder:
        other = make_key(folder / "other")
        public = (folder / "other.pub").read_text()
        hosts = folder / "hosts"
        hosts.write_text(f"[127.0.0.1]:{ssh.port} {' '.join(public.split()[:2])}\n")
        wrong = {
            "fingerprint": f"--backups={ssh.url('one', fingerprint=fingerprint_of(public))}",
            "known hosts": f"--backups={ssh.url('one', known_hosts=str(hosts))}",
            "key": f"--backups-credentials={other}",
        }[case]
        started_with(on_server.running, wrong)
        try:
            words = wait_until("the host says so", SECONDS, lambda: host_problem(on_server.running))
            expected = {
                "fingerprint": "do not match",
                "known hosts": "mismatch in known hosts",
                "key": "authentication failed",
            }
            assert expected[case] in words
            on_server.switch()
            wait_until("it is degraded", SECONDS, lambda: on_server.health()[0] == "degraded")
            refused = on_server.switch()
            wait_until("it is degraded", SECONDS, lambda: expected[case] in on_server.health()[1])
            assert not on_server.has(refused)
        finally:
            started_with(on_server.running, *right)
        on_server.switch()
        wait_until("it is healthy", SECONDS, lambda: on_server.health() == ("healthy", ""))


def test_a_server_whose_key_stands_in_a_file_is_known(on_server: Kept, ssh: SshServer) -> None:
    wait_until("it is backed up", SECONDS, on_server.backups)
    hosts = ssh.folder / "known-hosts"
    hosts.write_text(f"[127.0.0.1]:{ssh.port} {ssh.host_key}\n")
    started_with(on_server.running, f"--backups={ssh.url('one', known_hosts=str(hosts))}")
    segment = on_server.switch()
    wait_until("WAL is archived", SECONDS, lambda: on_server.has(segment))
    assert host_problem(on_server.running) == ""


def test_what_is_on_an_sftp_server_is_drilled_forked_and_recovered(ssh: SshServer) -> None:
    secret = ssh.folder / "passphrase"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    options = (
        f"--backups={ssh.url('all')}",
        f"--backups-credentials={ssh.client_key}",
        f"--service-backup-passphrase-file={secret}",
    )
    path = {"PATH": f"{NEWER}:{os.environ['PATH']}"}
    with service(*options, clusters=2, environment=path) as running, running.client() as client:
        one = backed_up(client, ssh.root / "all", "one")
        add(one.uri, [1])
        moment = client.databases.list_backups(one.id)["backups"][-1]["created_at"]

        def drill() -> Any:
            found = client.databases.list_backups(one.id)["cenote"]
            assert found["undrilled"] == ""
            return found["drill"]

        client.databases.create_drill(one.id)
        assert wait_until("it was drilled", SECONDS, drill)["failure"] == ""
        restore = {"database_name": "one", "backup_created_at": moment}
        fork = online_cluster(client, "two", version=version(), backup_restore=restore)
        assert kept(client.databases.get_cluster(fork["id"])["database"]["connection"]["uri"]) == [0]
        wait_until("the service is backed up", SECONDS, lambda: any(ssh.root.glob("all/cenote/service/*")))
        one.archive(running)
        lose(running)
        shutil.rmtree(one.paths(running).root)
        running.start()
        there = wait_until("its data are missing", SECONDS, lambda: recoverable(client, one.id))
        assert there["backups"] >= 1
        assert running.run("cluster", "recover", "one", "--yes").returncode == 0
        assert kept(one.uri) == [0, 1]


def recoverable(client: Client, id: str) -> Any:
    with contextlib.suppress(BusyError):
        return client.databases.get_recovery(id)["recovery"]
    return None


@pytest.mark.skipif(
    FOUND.pgbackrest is None or not programs.lacks_sftp(FOUND.pgbackrest), reason="this pgBackRest has SFTP"
)
def test_a_pgbackrest_without_sftp_is_named(tmp_path: Path) -> None:
    with server_folder() as folder:
        key = make_key(folder / "key")
        fingerprint = fingerprint_of((folder / "key.pub").read_text())
        url = f"--backups=sftp://me@127.0.0.1:1/srv?fingerprint={fingerprint}"
        with service(url, f"--backups-credentials={key}", clusters=1) as running:
            wait_until("it is said", SECONDS, lambda: "has no SFTP, which came with 2.46" in running.log())
            assert "has no SFTP" in host_problem(running)
