"""The service as a plain user: root is needed for nothing but to install packages.

As root, the tests run it as ``nobody``; as anybody else, every other test does already.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cenote.host import processes
from tests.support import process_table, two_versions
from tests.support.service import Service, added_pool, answer_of, online_cluster, service
from tests.support.upgrading import CHECKSUM, GOODS, Site, version_of

ROOT = Path(__file__).parents[2]
USER = "nobody"
MAIN = "from cenote.cli import main; main()"


def as_user() -> tuple[str, ...]:
    """Return the command that runs ours as the plain user; skip where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("these tests run as a plain user anyway")
    user = pwd.getpwnam(USER)
    # Folders of ours alone: those of the interpreter belong to the one that is found.
    path = os.pathsep.join(entry for entry in sys.path if Path(entry).is_relative_to(ROOT) and entry)
    prefix = (
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "env"),
        *("HOME=/nonexistent", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1"),
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = (*prefix, interpreter, "-c", MAIN)
        tried = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return command
    pytest.skip(f"{USER} can run neither our interpreter nor {version}: {tried.stderr.strip()[-200:]}")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(command=as_user(), owner=pwd.getpwnam(USER).pw_uid) as created:
        yield created


def owners(running: Service) -> set[str]:
    """Return who runs the service and its servers."""
    pids = [*running.processes().values(), *(process.pid for process in processes.below(running.data_dir))]
    return {pwd.getpwuid(uid).pw_name for uid in process_table.owners(pids)}


def test_a_plain_user_has_clusters_and_pools_with_nothing_of_root(running: Service) -> None:
    with running.client() as client:
        cluster = online_cluster(client, "plain")
        pool = added_pool(client, cluster["id"], "pool")
        assert answer_of(pool["connection"]["uri"]) == 42
        assert answer_of(cluster["connection"]["uri"]) == 42
        assert owners(running) == {USER}
        assert running.processes().keys() == {"supervisor", "agent", "api"}
        assert len(processes.below(running.data_dir)) >= 3

        running.end()
        running.start()
        assert answer_of(pool["connection"]["uri"]) == 42
        running.stop()
        assert processes.below(running.data_dir) == []
        running.start()


def test_a_plain_user_upgrades_a_cluster_to_another_major_version() -> None:
    older, newer, folders = two_versions.pair()
    owner = pwd.getpwnam(USER).pw_uid
    with (
        service("--backups=none", *folders, command=as_user(), owner=owner) as running,
        running.client() as client,
    ):
        site = Site(running, client, older, newer)
        cluster = site.made("plain")
        uri = cluster["connection"]["uri"]
        pool = added_pool(client, cluster["id"], "pool")["connection"]["uri"]
        with psycopg.connect(uri, autocommit=True) as connection:
            for statement in GOODS:
                connection.execute(statement.encode())
        before = answer_of(uri, CHECKSUM)
        site.upgrade(cluster["id"])
        assert site.settled(cluster["id"])["version"] == newer == version_of(uri)
        assert answer_of(pool, CHECKSUM) == before
        assert site.remains(cluster["id"]) == []
        assert owners(running) == {USER}


def test_a_plain_user_cannot_choose_whom_the_servers_run_as(running: Service) -> None:
    refused = running.run("serve", "--port=0", "--account=postgres")
    assert refused.returncode == 1
    assert refused.stderr.endswith("cenote: --account needs root; without root the servers run as you\n")
    refused = running.run("serve", "--port=0", "--api-account=postgres")
    assert refused.stderr.endswith("cenote: --api-account needs root; without root everything runs as you\n")


def test_a_plain_user_is_told_what_there_is(running: Service) -> None:
    told = running.cenote("doctor")
    assert f"ok       servers run as {USER}" in told
    assert "notice   the API runs as the same account as the agent" in told
    assert "only root can separate them" in told
    assert told.endswith("All dependencies found\n")


@pytest.mark.parametrize(("command", "name"), [("env", "admin-token"), ("stop", "serve.lock")])
def test_a_file_of_another_user_is_named(running: Service, command: str, name: str) -> None:
    theirs = running.data_dir / name
    theirs.chmod(0o600)
    os.chown(theirs, 0, 0)
    try:
        refused = running.run(command)
        assert refused.returncode == 1
        assert refused.stderr == f"cenote: {theirs} belongs to another user; run this as that user\n"
    finally:
        os.chown(theirs, pwd.getpwnam(USER).pw_uid, -1)
