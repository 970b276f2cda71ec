"""Forks through the API: to a moment and to now, with users, databases, pools and settings of then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from cenote_client import BusyError, Client, InvalidError
from tests.support.folders import server_folder
from tests.support.pgbackrest import NEEDS_PGBACKREST, version
from tests.support.power import Machine
from tests.support.service import SMALLEST, Service, added_pool, answer_of, online_cluster, service, tried
from tests.support.waiting import wait_until

SECONDS = 120
pytestmark = NEEDS_PGBACKREST


@dataclass
class Place:
    """A service that keeps backups, and a cluster of it that has one."""

    running: Service
    client: Client
    cluster: Any

    @property
    def base(self) -> str:
        return f"/v2/databases/{self.cluster['id']}"

    def uri(self, database: str = "defaultdb") -> str:
        return str(self.cluster["connection"]["uri"]).replace("/defaultdb", f"/{database}")

    def run(self, statement: LiteralString, database: str = "defaultdb") -> None:
        with psycopg.connect(self.uri(database), autocommit=True) as connection:
            connection.execute(statement)

    def ask(self, name: str, at: datetime | None = None, **fields: Any) -> Any:
        """Ask for a fork, and return it as it is in the answer."""
        restore = {"database_name": self.cluster["name"]}
        restore |= {"backup_created_at": at.isoformat().replace("+00:00", "Z")} if at is not None else {}
        body = SMALLEST | {"name": name, "backup_restore": restore} | fields
        return self.client.request("POST", "/v2/databases", json=body)["database"]

    def fork(self, name: str, at: datetime | None = None, **fields: Any) -> Any:
        """Fork, and return the new cluster when it is online."""
        return self.online(self.ask(name, at, **fields)["id"])

    def online(self, id: str) -> Any:
        def ready() -> Any:
            found = self.client.request("GET", f"/v2/databases/{id}")["database"]
            assert found["status"] in ("forking", "online")
            return found if found["status"] == "online" else None

        return wait_until(f"cluster {id} is online", SECONDS, ready)

    def remove(self, cluster: Any) -> None:
        self.client.request("DELETE", f"/v2/databases/{cluster['id']}")

    def refusal(self, **restore: str) -> str:
        body = SMALLEST | {"name": "refused", "backup_restore": restore}
        with pytest.raises((InvalidError, BusyError)) as caught:
            self.client.request("POST", "/v2/databases", json=body)
        return caught.value.message


def second() -> datetime:
    """Return a whole second that is over: what was done before is in it, what follows is not."""
    now = datetime.now(UTC)
    time.sleep(1 - now.microsecond / 1e6 + 0.01)
    found = datetime.now(UTC).replace(microsecond=0)
    time.sleep(1.01)
    return found


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with server_folder() as folder:
        options = (f"--backups=file://{folder}/repository",)
        with service(*options, clusters=10) as running, running.client() as client:
            cluster = online_cluster(client, "source", version=version())
            made = Place(running, client, cluster)

            def is_backed_up() -> Any:
                with contextlib.suppress(BusyError):
                    return client.databases.list_backups(cluster["id"])
                return None

            wait_until("the first backup is made", SECONDS, is_backed_up)
            yield made


def test_a_table_that_was_dropped_by_mistake_is_there_in_a_fork_to_the_second_before(place: Place) -> None:
    place.run("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")
    before = second()
    place.run("DROP TABLE parts")
    asked = place.ask("rescue", before)
    assert asked["status"] in ("forking", "online")
    assert asked["connection"]["password"] != place.cluster["connection"]["password"]
    assert asked["connection"]["port"] != place.cluster["connection"]["port"]
    fork = place.online(asked["id"])
    assert fork["connection"] == asked["connection"]
    assert fork["connection"]["port"] != place.cluster["connection"]["port"]
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM parts") == 42
    answers = [
        answer_of(uri, "SELECT system_identifier::text FROM pg_control_system()")
        for uri in (fork["connection"]["uri"], place.uri())
    ]
    assert answers[0] != answers[1]
    with pytest.raises(psycopg.errors.UndefinedTable):
        answer_of(place.uri(), "SELECT count(*) FROM parts")
    [event, *_] = place.client.request("GET", f"/v2/databases/{fork['id']}/events")["events"][::-1]
    assert event["event_type"] == "cluster_create"
    assert f"forked from source as of {before:%Y-%m-%d %H:%M:%S} UTC" in event["cenote"]["summary"]
    place.remove(fork)


def test_a_database_and_a_user_that_were_deleted_are_there_and_a_minute_later_still(place: Place) -> None:
    client, base = place.client, place.base
    client.request("POST", f"{base}/dbs", json={"name": "orders"})
    user = client.request("POST", f"{base}/users", json={"name": "app", "cenote": {"access": "readwrite"}})
    place.run("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id", "orders")
    pool = added_pool(client, place.cluster["id"], "orders-pool", db="orders", user="app")
    client.request("PATCH", f"{base}/config", json={"config": {"work_mem": 7}})
    before = second()
    client.request("DELETE", f"{base}/pools/{pool['name']}")
    client.request("DELETE", f"{base}/dbs/orders")
    client.request("DELETE", f"{base}/users/app")
    client.request("PATCH", f"{base}/config", json={"config": {"work_mem": 9}})
    client.request("POST", f"{base}/dbs", json={"name": "later"})
    client.request("POST", f"{base}/users", json={"name": "newcomer"})
    fork = place.fork("with-all", before)
    at = f"/v2/databases/{fork['id']}"

    def check() -> None:
        assert client.request("GET", f"{at}/dbs")["dbs"] == [{"name": "defaultdb"}, {"name": "orders"}]
        users = {one["name"]: one for one in client.request("GET", f"{at}/users")["users"]}
        assert users.keys() == {"doadmin", "app"}
        assert users["app"]["cenote"] == {"access": "readwrite"}
        assert users["app"]["password"] != user["user"]["password"]
        [there] = client.request("GET", f"{at}/pools")["pools"]
        assert answer_of(there["connection"]["uri"], "SELECT count(*) FROM kept") == 1000
        uri = fork["connection"]["uri"].replace("/defaultdb", "/orders")
        assert answer_of(uri, "SELECT count(*) FROM kept") == 1000
        assert client.request("GET", f"{at}/config")["config"]["work_mem"] == 7

    check()
    # Passes over everything follow each other within less: 24 seconds at most.
    began, seen = time.monotonic(), client.request("GET", at)["database"]["cenote"]["health"]
    while time.monotonic() - began < 60:
        time.sleep(5)
    assert seen in ("healthy", "degraded")
    check()
    former = str(place.uri("orders"))
    assert tried(former) is None
    place.remove(fork)
    for thing in ("dbs/later", "users/newcomer"):
        client.request("DELETE", f"{base}/{thing}")


def test_a_fork_to_now_is_a_copy_of_the_living_server(place: Place) -> None:
    place.run("CREATE TABLE now AS SELECT generate_series(1, 7) AS id")
    source = {"type": "ip_addr", "value": "127.0.0.0/8"}
    place.client.request("PUT", f"{place.base}/firewall", json={"rules": [source]})
    fork = place.fork("copy")
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM now") == 7
    [rule] = place.client.request("GET", f"/v2/databases/{fork['id']}/firewall")["rules"]
    assert rule["value"] == "127.0.0.0/8"
    place.client.request("PUT", f"{place.base}/firewall", json={"rules": []})
    place.run("DROP TABLE now")
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM now") == 7
    place.remove(fork)


def test_a_quiet_second_of_an_idle_database_can_be_restored(place: Place) -> None:
    place.run("CREATE TABLE quiet AS SELECT generate_series(1, 5) AS id")
    time.sleep(2)
    quiet = second()
    time.sleep(2)
    fork = place.fork("quiet", quiet)
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM quiet") == 5
    place.remove(fork)


def test_a_fork_during_which_everything_is_killed_is_never_half_there_and_is_completed(place: Place) -> None:
    place.run("CREATE TABLE whole AS SELECT generate_series(1, 10000) AS id")
    moment = second()
    machine = Machine(place.running)
    for number, pause in enumerate((0.0, 0.4, 0.8, 1.4)):
        asked = place.ask(f"killed-{number}", moment)
        time.sleep(pause)  # the moment of the kill, not a wait for anything
        machine.off()
        machine.on()
        fork = place.online(asked["id"])
        assert fork["connection"] == asked["connection"]
        uri = fork["connection"]["uri"]  # what was online before the kill may still be starting
        wait_until("it serves", SECONDS, lambda uri=uri: tried(uri, "SELECT 1") == 1)  # type: ignore[misc]
        assert answer_of(uri, "SELECT count(*) FROM whole") == 10_000
        place.remove(fork)


def test_what_cannot_be_restored_is_refused_in_words(place: Place) -> None:
    name = place.cluster["name"]
    now = datetime.now(UTC)
    for outside in (now - timedelta(days=9), now + timedelta(hours=1)):
        told = place.refusal(database_name=name, backup_created_at=f"{outside:%Y-%m-%dT%H:%M:%SZ}")
        oldest = place.client.databases.list_backups(place.cluster["id"])["backups"][0]["created_at"]
        assert f"{oldest[:10]} {oldest[11:19]} to {now:%Y-%m-%d %H:}" in told
    assert "no cluster named 'nobody'" in place.refusal(database_name="nobody")
    assert "is not a time" in place.refusal(database_name=name, backup_created_at="noon")
    other = online_cluster(place.client, "deleted", version=version())
    place.remove(other)
    assert "cenote cluster undelete" in place.refusal(database_name="deleted")


def test_without_backups_a_fork_to_now_is_made_and_a_moment_is_refused() -> None:
    with service("--backups=none", clusters=4) as running, running.client() as client:
        cluster = online_cluster(client, "source")
        place = Place(running, client, cluster)
        place.run("CREATE TABLE parts AS SELECT generate_series(1, 42) AS id")
        fork = place.fork("copy")
        assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM parts") == 42
        assert "--backups" in place.refusal(
            database_name="source", backup_created_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        )


def test_the_command_forks_and_waits(place: Place) -> None:
    place.run("CREATE TABLE told AS SELECT 1 AS id")
    before = second()
    place.run("DROP TABLE told")
    at = f"{before:%Y-%m-%d %H:%M:%S} UTC"
    done = place.running.run("cluster", "fork", "source", "by-hand", "--at", at)
    assert done.returncode == 0, done.stderr
    assert f"Forked cluster source as of {at} to by-hand" in done.stdout + done.stderr
    [fork] = [one for one in place.client.databases.iter_clusters() if one["name"] == "by-hand"]
    assert answer_of(fork["connection"]["uri"], "SELECT count(*) FROM told") == 1
    place.remove(fork)
