"""Databases and users that SQL has just made are there for the next request, before the agent has looked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from cenote_client import Client, InvalidError, NotFoundError
from tests.support.service import added_pool, online_cluster

PASSWORD = "chosen-by-its-owner"


@pytest.fixture(scope="module")
def cluster(client: Client) -> Iterator[Any]:
    made = online_cluster(client, "made-by-sql")
    yield made
    client.databases.destroy_cluster(made["id"])


def sql(cluster: Any, statement: LiteralString) -> None:
    with psycopg.connect(cluster["connection"]["uri"], autocommit=True) as connection:
        connection.execute(statement)


def test_a_pool_takes_a_database_and_a_user_that_are_new(client: Client, cluster: Any) -> None:
    sql(cluster, "CREATE DATABASE fresh")
    sql(cluster, f"CREATE ROLE fresh_user LOGIN PASSWORD '{PASSWORD}'")
    pool = added_pool(client, cluster["id"], "fresh-pool", db="fresh", user="fresh_user", size=2)
    with psycopg.connect(pool["connection"]["uri"], password=PASSWORD) as connection:
        found = connection.execute("SELECT current_database(), current_user").fetchone()
    assert found == ("fresh", "fresh_user")


def test_a_pool_is_changed_to_a_database_that_is_new(client: Client, cluster: Any) -> None:
    pool = added_pool(client, cluster["id"], "moved-pool", size=2)
    sql(cluster, "CREATE DATABASE moved")
    wanted: Any = {"mode": "session", "size": 2, "db": "moved"}
    client.databases.update_connection_pool(cluster["id"], "moved-pool", wanted)
    with psycopg.connect(pool["connection"]["uri"]) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("moved",)


def test_the_password_of_a_new_user_is_reset(client: Client, cluster: Any) -> None:
    sql(cluster, "CREATE ROLE without_password LOGIN")
    user = client.databases.reset_auth(cluster["id"], "without_password", {})["user"]
    uri = cluster["connection"]["uri"]
    with psycopg.connect(uri, user=user["name"], password=user["password"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("without_password",)


def test_what_is_new_is_deleted(client: Client, cluster: Any) -> None:
    sql(cluster, "CREATE DATABASE unwanted")
    sql(cluster, "CREATE ROLE unwanted_user LOGIN")
    client.databases.delete(cluster["id"], "unwanted")
    client.databases.delete_user(cluster["id"], "unwanted_user")
    with psycopg.connect(cluster["connection"]["uri"]) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = 'unwanted'"
            " UNION ALL SELECT rolname FROM pg_roles WHERE rolname = 'unwanted_user'"
        ).fetchall()
    assert left == []


def test_what_is_not_there_is_still_refused(client: Client, cluster: Any) -> None:
    with pytest.raises(InvalidError, match="there is no database 'nowhere'"):
        added_pool(client, cluster["id"], "lost-pool", db="nowhere", size=2)
    with pytest.raises(NotFoundError):
        client.databases.reset_auth(cluster["id"], "nobody-at-all", {})
