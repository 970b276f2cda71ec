"""What SQL has changed and made, through a running service: the API, the command line and the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from cenote_client import Client, NotFoundError
from tests.support.console import visitor
from tests.support.service import Service, added_pool, online_cluster, tried
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service("--requests-per-minute=0", "--requests-per-hour=0")

SECONDS = 90


class House:
    """A cluster, its administrator's session, and what the API says of it."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.cluster = client, online_cluster(client, name)
        self.id = self.cluster["id"]
        self.uri = str(self.cluster["connection"]["uri"])
        self._users = 0

    def sql(self, statement: LiteralString) -> None:
        """Run SQL as the administrator, and have the agent look: it does so with each change of a user."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement)
        self._users += 1
        self.client.databases.add_user(self.id, {"name": f"another-{self._users}"})

    def user(self, name: str) -> Any:
        return self.client.databases.get_user(self.id, name)["user"]

    def database(self, name: str) -> Any:
        return self.client.databases.get(self.id, name)["db"]

    def pool(self, name: str) -> Any:
        return self.client.databases.get_connection_pool(self.id, name)["pool"]

    def seen(self) -> Any:
        return self.client.databases.get_cluster(self.id)["database"]

    def is_shown(self, user: str, **expected: str) -> None:
        wait_until(
            f"{user} is shown as {expected}",
            SECONDS,
            lambda: expected.items() <= self.user(user).get("cenote", {}).items(),
        )


@pytest.fixture
def house(client: Client, request: pytest.FixtureRequest) -> Iterator[House]:
    built = House(client, request.node.name.removeprefix("test_").replace("_", "-")[:30].strip("-"))
    yield built
    client.databases.destroy_cluster(built.id)


def test_a_user_that_sql_has_closed_is_shown_so_and_reset_auth_opens_it(
    house: House, running: Service
) -> None:
    made = house.client.databases.add_user(house.id, {"name": "app"})["user"]
    added_pool(house.client, house.id, "own-pool", user="app")
    house.sql("ALTER ROLE app NOLOGIN")
    house.is_shown("app", state="closed", reason="may not log in (NOLOGIN)")
    assert house.user("app")["password"] == made["password"], "it is still the one"
    assert house.pool("own-pool")["cenote"] == {
        "state": "closed",
        "reason": "user 'app' may not log in (NOLOGIN)",
    }
    assert house.seen()["cenote"]["by_sql"] == [
        "pool 'own-pool' rejects all clients: user 'app' may not log in (NOLOGIN)"
    ]
    listed = running.cenote("user", "list", house.cluster["name"])
    assert "closed" in next(line for line in listed.splitlines() if line.startswith("app "))
    with visitor(running, "database:read") as visit:
        for page in ("users", "pools"):
            text = visit.open(f"/console/clusters/{house.id}/{page}").text
            assert "may not log in (NOLOGIN)" in text, page
    after = house.client.databases.reset_auth(house.id, "app", {})["user"]
    assert "cenote" not in after
    assert tried(house.pool("own-pool")["connection"]["uri"]) == 42
    wait_until("nothing is left of it", SECONDS, lambda: "cenote" not in house.pool("own-pool"))
    assert "by_sql" not in house.seen()["cenote"]


def test_a_password_that_sql_has_set_is_not_shown_as_another(house: House, running: Service) -> None:
    house.client.databases.add_user(house.id, {"name": "app"})
    added_pool(house.client, house.id, "own-pool", user="app")
    house.sql("ALTER ROLE app PASSWORD 'its-own'")
    house.is_shown("app", password="set by SQL")
    assert "password" not in house.user("app")
    connection = house.pool("own-pool")["connection"]
    assert connection["user"] == "app"
    assert "password" not in connection
    assert connection["uri"].startswith("postgres://app@")
    assert tried(connection["uri"], password="its-own") == 42
    refused = running.run("uri", house.cluster["name"], "--pool", "own-pool")
    assert refused.returncode == 1
    assert "was set by SQL" in refused.stderr
    with visitor(running, "database:read", "database:view_credentials") as visit:
        assert "was set by SQL" in visit.open(f"/console/clusters/{house.id}/connect?pool=own-pool").text
        assert "password set by SQL" in visit.open(f"/console/clusters/{house.id}/users").text


def test_a_database_that_sql_has_dropped_is_shown_as_gone_until_it_is_deleted_or_made_again(
    house: House, running: Service
) -> None:
    for name in ("first", "second"):
        house.client.databases.add(house.id, {"name": name})
    added_pool(house.client, house.id, "a-pool", db="first", user="doadmin")
    house.sql("DROP DATABASE first")
    house.sql("ALTER DATABASE second RENAME TO third")
    wait_until("it is shown", SECONDS, lambda: "cenote" in house.database("second"))
    gone = {"state": "gone", "reason": "was dropped by SQL"}
    assert house.database("first")["cenote"] == gone
    assert house.database("second")["cenote"]["reason"] == "was renamed to 'third' by SQL"
    assert house.pool("a-pool")["cenote"]["reason"] == "database 'first' was dropped by SQL"
    names = house.seen()["db_names"]
    assert "third" in names
    assert not {"first", "second"} & set(names)
    shown = json.loads(running.cenote("db", "list", house.cluster["name"], "-o", "json"))
    assert {"name": "first", "cenote": gone} in shown
    assert "was dropped by SQL" in running.cenote("cluster", "get", house.cluster["name"])
    with visitor(running, "database:read") as visit:
        for query in ("", "?databases=owner", "?databases=-owner", "?databases=database"):
            assert "was dropped by SQL" in visit.open(f"/console/clusters/{house.id}/users{query}").text
    assert house.client.databases.add(house.id, {"name": "first"})["db"] == {"name": "first"}
    wait_until("the pool serves it", SECONDS, lambda: tried(house.pool("a-pool")["connection"]["uri"]) == 42)
    house.client.databases.delete(house.id, "second")
    with pytest.raises(NotFoundError):
        house.database("second")
    assert house.database("third") == {"name": "third"}


def test_what_sql_has_made_can_be_used_in_pools_and_deleted(house: House) -> None:
    house.sql("CREATE DATABASE by_hand")
    house.sql("CREATE ROLE maker LOGIN PASSWORD 'its-own'")
    names = house.client.databases
    wait_until(
        "both are listed",
        SECONDS,
        lambda: (
            "by_hand" in house.seen()["db_names"]
            and "maker" in [user["name"] for user in names.list_users(house.id)["users"]]
        ),
    )
    assert house.user("maker") == {"name": "maker", "role": "normal", "cenote": {"password": "set by SQL"}}
    pool = added_pool(house.client, house.id, "made-pool", db="by_hand", user="maker")
    wait_until("it serves", SECONDS, lambda: tried(pool["connection"]["uri"], password="its-own") == 42)
    names.delete_connection_pool(house.id, "made-pool")
    names.delete(house.id, "by_hand")
    names.delete_user(house.id, "maker")
    for gone in (house.database, house.user):
        with pytest.raises(NotFoundError):
            gone("by_hand" if gone == house.database else "maker")
    with psycopg.connect(house.uri) as connection:
        found = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = 'maker'"
            " UNION SELECT datname FROM pg_database WHERE datname = 'by_hand'"
        ).fetchall()
    assert found == []
    house.sql("CREATE DATABASE by_hand")  # another one, which nobody has asked to delete
    wait_until("it is listed", SECONDS, lambda: "by_hand" in house.seen()["db_names"])


def test_what_sql_has_made_is_taken_over_by_a_post_of_its_name(house: House) -> None:
    house.sql("CREATE DATABASE by_hand")
    house.sql("CREATE ROLE maker LOGIN PASSWORD 'its-own'")
    house.sql("CREATE ROLE team")
    wait_until("they are listed", SECONDS, lambda: "by_hand" in house.seen()["db_names"])
    with psycopg.connect(house.uri.replace("/defaultdb", "/by_hand"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    house.client.databases.add(house.id, {"name": "by_hand"})
    assert tried(house.uri.replace("/defaultdb", "/by_hand"), "SELECT answer FROM kept") == 42
    user = house.client.databases.add_user(house.id, {"name": "maker"})["user"]
    uri = house.uri.replace("doadmin:", "maker:").replace(
        house.cluster["connection"]["password"], user["password"]
    )
    assert tried(uri) == 42
    with pytest.raises(Exception, match="a role of this name that cannot log in"):
        house.client.databases.add_user(house.id, {"name": "team"})
