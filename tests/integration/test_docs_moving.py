"""docs/moving.md from one cluster to another, and docs/tools.md as far as its tools are to be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support import shell
from tests.support.official_pydo import run_official
from tests.support.pages import blocks
from tests.support.service import CENOTE, Service, clean_environment, online_cluster, service

MOVING = {block.title: block.text for block in blocks("moving.md")}
TOOLS = {block.title or block.language: block.text for block in blocks("tools.md")}
NOT_RUN = {"doctl": "the tests have no doctl; see tests/contract for what clients send and read"}


def run(script: str, running: Service, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-ec", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment()
        | {"PATH": f"{Path(CENOTE).parent}:{os.environ['PATH']}"}
        | shell.at(running)
        | environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_database_moves_with_its_users_as_the_page_says(tmp_path: Path) -> None:
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "old-side")
        old = cluster["connection"]["uri"]
        client.databases.add_user(cluster["id"], {"name": "app"})
        with psycopg.connect(old) as connection:
            connection.execute("CREATE TABLE parts (id serial PRIMARY KEY, name text NOT NULL)")
            connection.execute("INSERT INTO parts (name) SELECT 'part ' || n FROM generate_series(1, 42) n")
            connection.execute("CREATE VIEW last AS SELECT max(id) AS id FROM parts")
            connection.execute("GRANT SELECT, INSERT ON parts, last TO app")
            connection.execute("GRANT USAGE ON SEQUENCE parts_id_seq TO app")
        online_cluster(client, "backend")
        assert "nothing was changed" in run(MOVING["check"], running, tmp_path, SOURCE=old)
        imported = run(MOVING["import"], running, tmp_path, CENOTE_IMPORT_FROM=old)
        assert "no difference" in imported
        assert "Created users with new passwords ('cenote user get'): app" in imported
        uri = run(MOVING["pool"], running, tmp_path).splitlines()[-1]
        with psycopg.connect(uri) as connection:
            asked = connection.execute(
                "INSERT INTO parts (name) VALUES ('x') RETURNING id, current_user, (SELECT id FROM last)"
            )
            assert asked.fetchone() == (43, "app", 42)


def test_a_subscription_needs_a_superuser_as_the_page_says() -> None:
    with service() as running, running.client() as client:
        uri = online_cluster(client, "backend")["connection"]["uri"]
        with (
            psycopg.connect(uri, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE SUBSCRIPTION old CONNECTION 'host=localhost' PUBLICATION everything")


def test_the_official_pydo_lists_clusters_as_the_page_has_it() -> None:
    with service() as running, running.client() as client:
        online_cluster(client, "backend")
        done = run_official(TOOLS["python"], **running.environment())
        assert (done.returncode, done.stdout) == (0, "backend\n"), done.stderr


def test_terraform_finds_the_file_in_its_form(tmp_path: Path) -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("needs terraform")
    (tmp_path / "main.tf").write_text(TOOLS["main.tf"])
    done = subprocess.run(
        [terraform, "fmt", "-check", "-diff", "main.tf"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=clean_environment() | {"CHECKPOINT_DISABLE": "1"},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_every_block_of_these_pages_is_run_or_has_a_reason_why_not() -> None:
    assert MOVING.keys() == {"check", "import", "pool"}
    assert TOOLS.keys() == {"python", "main.tf", *NOT_RUN}
