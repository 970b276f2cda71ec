"""Deleting users and databases through a running service: many at once, held up, killed, and anew."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from cenote_client import Client
from tests.support.service import Service, answer_of, calling, online_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.service("--requests-per-minute=0", "--requests-per-hour=0")

SETTLE_SECONDS = 60
MANY = 20


def path(cluster: Any) -> str:
    return f"/v2/databases/{cluster['id']}"


def uri(cluster: Any, database: str = "defaultdb") -> str:
    return str(cluster["connection"]["uri"]).replace("/defaultdb", f"/{database}")


def test_names_that_are_deleted_at_once_are_gone_and_come_again_empty(
    client: Client, running: Service
) -> None:
    cluster = online_cluster(client, "many")
    names = [f"many-{number}" for number in range(MANY)]
    paths = [f"{path(cluster)}/{noun}/{name}" for noun in ("users", "dbs") for name in names]

    def deleted_and_made(http: httpx.Client, one: str) -> tuple[int, int]:
        deleted = http.delete(one).status_code
        collection, _, name = one.rpartition("/")
        return deleted, http.post(collection, json={"name": name}).status_code

    with calling(running) as http, ThreadPoolExecutor(MANY) as threads:
        assert set(threads.map(lambda one: made(http, one), paths)) == {201}
        for name in names:
            with psycopg.connect(uri(cluster, name)) as connection:
                connection.execute("CREATE TABLE old (id int)")
        assert set(threads.map(lambda one: deleted_and_made(http, one), paths)) == {(204, 201)}
    for name in names:
        assert answer_of(uri(cluster, name), "SELECT to_regclass('old')") is None


def made(http: httpx.Client, one: str) -> int:
    collection, _, name = one.rpartition("/")
    return http.post(collection, json={"name": name}).status_code


def test_a_drop_that_is_held_up_is_told_delays_no_other_change_and_outlives_the_agent(
    client: Client, running: Service
) -> None:
    cluster = online_cluster(client, "held")
    base = path(cluster)
    password = client.request("POST", f"{base}/users", json={"name": "app"})["user"]["password"]
    client.request("POST", f"{base}/dbs", json={"name": "shop", "cenote": {"owner": "app"}})
    login = (
        uri(cluster, "shop").replace("doadmin", "app").replace(cluster["connection"]["password"], password)
    )
    with psycopg.connect(login, autocommit=True) as app:
        app.execute("CREATE TABLE kept (id int); GRANT ALL ON kept TO doadmin")
    with calling(running) as http, psycopg.connect(uri(cluster, "shop")) as holder:
        holder.execute("LOCK TABLE kept")
        http.delete(f"{base}/users/app")

        def reason() -> str:
            return str(http.get(base).json()["database"]["cenote"]["reason"])

        held = "user 'app' is not removed yet: handing over what user app owns in database shop failed"
        wait_until("the reason names the user", SETTLE_SECONDS, lambda: reason().startswith(held))
        refused = http.post(f"{base}/users", json={"name": "app"})
        assert refused.status_code == 412
        assert refused.json()["message"].startswith("user name is not available yet: user 'app' is being")
        assert http.post(f"{base}/users", json={"name": "other"}).status_code == 201
        assert http.delete(f"{base}/users/other").status_code == 204
        assert answer_of(uri(cluster), "SELECT count(*) FROM pg_roles WHERE rolname = 'other'") == 0
        before = running.child("agent")
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(
            "there is another agent", SETTLE_SECONDS, lambda: running.child("agent") not in (None, before)
        )
        assert http.post(f"{base}/users", json={"name": "app"}).status_code == 412
        holder.rollback()
        wait_until("nothing is left to do", SETTLE_SECONDS, lambda: not reason())
        assert http.post(f"{base}/users", json={"name": "app"}).status_code == 201
    kept = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'kept'"
    assert answer_of(uri(cluster, "shop"), kept).startswith("cenote_deleted_user_")
