"""Clients of a transaction pool get the answers to their own queries, whichever way their driver prepares."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cenote_client import Client
from tests.support.folders import server_folder
from tests.support.pages import DOCS
from tests.support.service import Service, added_pool, online_cluster
from tools.drivers import __main__ as drivers

RIGHT = f"{drivers.CLIENTS * drivers.ROUNDS * 3} right, 0 of another query, 0 failed"


@pytest.fixture(scope="module")
def uri(running: Service, client: Client) -> str:
    cluster = online_cluster(client, "backend")
    pool = added_pool(client, cluster["id"], "few", size=4)
    return str(pool["connection"]["uri"])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with server_folder() as made:
        shutil.copytree(drivers.HERE, made / "drivers")
        yield made / "drivers"


def outcome(uri: str, folder: Path, driver: str, case: str) -> str:
    command = f"{sys.executable} python_drivers.py {driver} {case}"
    return drivers.tried(command, Path("/"), folder, uri, prepare_seconds=2)


@pytest.mark.parametrize("case", ["plain", "no-cache", "evicting"])
def test_asyncpg_gets_its_own_answers(uri: str, folder: Path, case: str) -> None:
    assert outcome(uri, folder, "asyncpg", case) == RIGHT


@pytest.mark.parametrize("case", ["plain", "no-prepare"])
def test_psycopg_gets_its_own_answers(uri: str, folder: Path, case: str) -> None:
    assert outcome(uri, folder, "psycopg", case) == RIGHT


def test_psycopg_may_free_statements_from_the_libpq_on_that_the_page_names(uri: str, folder: Path) -> None:
    assert "`psycopg.pq.version()` is 170000 or more" in (DOCS / "connecting.md").read_text()
    said = outcome(uri, folder, "psycopg", "evicting")
    if psycopg.pq.version() >= 170000:
        assert said == RIGHT
    else:
        assert "prepared statement" in said
