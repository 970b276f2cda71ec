"""Terraform's resource of an online migration: what the provider sends, and how long it waits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import pgbench
from tests.support.golang import go_program
from tests.support.importing import checksums, uri_of
from tests.support.migrating import Migration, state
from tests.support.plain_postgres import PASSWORD, PlainPostgres, plain_postgres
from tests.support.service import Service, clean_environment, online_cluster
from tests.support.through import service

SOURCE = Path(__file__).with_name("godo-migration")


@pytest.fixture(scope="module")
def source() -> Iterator[PlainPostgres]:
    with plain_postgres() as started:
        started.run("CREATE DATABASE bank")
        pgbench.initialize(started.uri("bank"))
        yield started


def played(running: Service, cluster: Any, source: PlainPostgres) -> Any:
    program = go_program("godo-migration", SOURCE, needs="github.com/digitalocean/godo")
    done = subprocess.run(
        [str(program)],
        capture_output=True,
        text=True,
        env=clean_environment()
        | running.environment()
        | {"CLUSTER": cluster["id"], "SOURCE_PORT": str(source.port), "SOURCE_PASSWORD": PASSWORD},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_a_migration_is_made_read_and_destroyed_and_its_rows_stay(source: PlainPostgres) -> None:
    before = state(source, ("bank",))
    with service() as running, running.client() as client:
        cluster = online_cluster(client, "destination")
        told = played(running, cluster, source)
        assert (told["before"], told["started"], told["destroyed"]) == (404, 200, 204)
        created = told["created"]
        assert created["status"] == "syncing"
        assert created["created_at"] > "2020"
        migration = Migration(client, cluster["id"], created["id"])
        assert migration.reaches("done")["id"] == created["id"]
        assert checksums(uri_of(cluster, "bank")) == checksums(source.uri("bank"))
        assert state(source, ("bank",)) == before
        migration.stop()  # destroyed again, when it is over
