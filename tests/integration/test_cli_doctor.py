"""``cenote doctor``, and ``cenote serve`` on a machine that lacks something.

Programs that are missing are hidden in a mount namespace of their own; those that are too old are scripts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cenote.host import processes
from tests.integration.test_serve_accounts import without_account
from tests.support.folders import server_folder
from tests.support.service import CENOTE, clean_environment, run_cenote

POSTGRES, ETCD = "/usr/lib/postgresql", shutil.which("etcd") or "/usr/bin/etcd"
HIDE = f"mount -t tmpfs none {POSTGRES} && mount --bind /dev/null {ETCD} && exec "


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as created:
        yield created


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def without_programs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where PostgreSQL and etcd are hidden from it; skip where that takes more rights."""
    if os.geteuid() != 0 or not Path(POSTGRES).is_dir():
        pytest.skip(f"hiding {POSTGRES} takes root, and a PostgreSQL that stands there")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this root may not make mount namespaces")
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", HIDE + '"$0" "$@"', CENOTE, *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_on_a_machine_that_has_everything_it_says_what_and_where(folder: Path) -> None:
    done = run_cenote("doctor", f"--data-dir={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "All dependencies found"
    for name in ("PostgreSQL", "PgBouncer", "etcd", "servers run as"):
        assert any(line.startswith(f"ok       {name}") for line in lines)


def test_a_pooler_that_is_too_old_is_named_with_what_mends_it(folder: Path) -> None:
    old = script(folder / "pgbouncer", "echo PgBouncer 1.18.0")
    done = run_cenote("doctor", f"--data-dir={folder}", f"--pgbouncer={old}")
    assert done.returncode == 1
    assert f"error    PgBouncer 1.21 or newer not found ({old} is 1.18.0)" in done.stdout
    assert "fix: make setup" in done.stdout
    assert "All dependencies found" not in done.stdout


@pytest.mark.parametrize("text", ["exit 1", "echo what", "kill $$"])
def test_a_pooler_that_cannot_be_run_is_named(folder: Path, text: str) -> None:
    broken = script(folder / "pgbouncer", text)
    done = run_cenote("doctor", f"--data-dir={folder}", f"--pgbouncer={broken}")
    assert done.returncode == 1
    assert f"{broken} cannot be run" in done.stdout


def test_what_is_missing_is_named_with_the_command_that_installs_it(folder: Path) -> None:
    done = without_programs("doctor", f"--data-dir={folder}")
    assert done.returncode == 1
    assert "error    PostgreSQL 13 or newer not found" in done.stdout
    assert "error    etcd 3.4 or newer not found" in done.stdout
    assert done.stdout.count("fix: ") == 2
    assert "ok       PgBouncer" in done.stdout


def test_a_service_does_not_begin_what_it_cannot_go_on_with(folder: Path) -> None:
    done = without_programs("serve", f"--data-dir={folder}", "--port=0")
    assert done.returncode == 1
    assert "PostgreSQL 13 or newer not found; fix: " in done.stderr
    assert "etcd 3.4 or newer not found; fix: " in done.stderr
    assert list(folder.iterdir()) == []
    assert processes.below(folder) == []


def test_a_path_that_is_too_long_is_found_before_the_service_is(folder: Path) -> None:
    done = run_cenote("doctor", f"--data-dir={folder / ('x' * 90)}")
    assert done.returncode == 1
    assert "too long for the unix sockets below it" in done.stdout


def test_it_shows_the_identity_of_the_host_or_that_it_is_damaged(folder: Path) -> None:
    record = folder / "host.json"
    record.write_text('{"id": "00000000-0000-0000-0000-000000000001", "name": "db-1"}')
    done = run_cenote("doctor", f"--data-dir={folder}")
    assert "ok       this host is db-1 (id 00000000-0000-0000-0000-000000000001)" in done.stdout.splitlines()

    record.write_text("{")
    done = run_cenote("doctor", f"--data-dir={folder}")
    assert done.returncode == 1
    assert f"error    {record} cannot be read" in done.stdout


def test_it_says_that_the_rights_in_an_etcd_of_ones_own_are_not_its_own(folder: Path) -> None:
    named = {"id": "00000000-0000-0000-0000-000000000001", "name": "db-1"}
    told = "notice   the records are in an etcd of your own"
    (folder / "host.json").write_text(json.dumps(named))
    assert told not in run_cenote("doctor", f"--data-dir={folder}").stdout, "before the first start"

    (folder / "host.json").write_text(json.dumps(named | {"store": named["id"]}))
    done = run_cenote("doctor", f"--data-dir={folder}")
    assert done.returncode == 0
    assert told in done.stdout
    assert "share one login" in done.stdout

    (folder / "etcd").mkdir()
    assert told not in run_cenote("doctor", f"--data-dir={folder}").stdout, "with the private one"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the API an account of its own")
def test_it_says_what_is_lost_without_an_account_of_the_api_and_how_to_make_one(folder: Path) -> None:
    done = subprocess.run(
        without_account(CENOTE, "doctor", f"--data-dir={folder}"),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "notice   the API runs as the same account as the agent" in done.stdout
    assert "no system user 'cenote-api'" in done.stdout
    assert "to make one: useradd --system " in done.stdout
