"""Forks made by clients of the hosted product: the official pydo, and godo, which doctl is made of."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.contract.test_official_pydo import played
from tests.support.folders import server_folder
from tests.support.golang import go_program
from tests.support.pgbackrest import NEEDS_PGBACKREST
from tests.support.service import Service, answer_of, clean_environment, service

pytestmark = NEEDS_PGBACKREST
GODO = Path(__file__).with_name("godo-fork")


@dataclass
class Place:
    running: Service
    told: Any

    @property
    def uri(self) -> str:
        return str(self.told["cluster"]["connection"]["uri"])


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with server_folder() as folder, service(f"--backups=file://{folder}/repository", clusters=6) as running:
        yield Place(running, played("backed_up.py", running))


def test_official_pydo_reads_a_table_that_was_dropped_by_mistake_from_a_fork(place: Place) -> None:
    with psycopg.connect(place.uri, autocommit=True) as connection:
        connection.execute("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")
        time.sleep(1.1 - time.time() % 1)
        before = datetime.now(UTC).replace(microsecond=0)
        time.sleep(1.1)
        connection.execute("DROP TABLE parts")
    told = played("fork.py", place.running, AT=f"{before:%Y-%m-%dT%H:%M:%SZ}")
    assert told["refused"]["id"] == "unprocessable_entity"
    first = place.told["backups"]["backups"][0]["created_at"]
    assert f"{first[:10]} {first[11:19]} to " in told["refused"]["message"]
    assert set(told["seen"]) <= {"forking", "online"}
    fork = told["cluster"]
    assert fork["connection"] == told["created"]["database"]["connection"]
    assert fork["version"] == place.told["cluster"]["version"]
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM parts") == 42


def test_godo_lists_backups_and_forks_as_of_one_of_them(place: Place) -> None:
    program = go_program("godo-fork", GODO, needs="github.com/digitalocean/godo")
    variables = clean_environment() | place.running.environment()
    done = subprocess.run(
        [str(program)],
        capture_output=True,
        text=True,
        env=variables | {"CLUSTER": place.told["cluster"]["id"]},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["code"] == 201
    assert told["backups"][0]["size_gigabytes"] > 0
    created = told["backups"][-1]["created_at"]
    assert told["printed"] == f"{created[:10]} {created[11:19]} +0000 UTC"
    assert told["created"]["status"] in ("forking", "online")
    assert told["online"]["connection"] == told["created"]["connection"]
    assert told["online"]["tags"] == ["copy"]
    assert answer_of(told["online"]["connection"]["uri"], "SELECT 42") == 42
