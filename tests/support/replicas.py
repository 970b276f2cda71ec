"""Read replicas of a cluster, and rows that say whether they follow it."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg

from cenote_client import Client
from tests.support.waiting import wait_until

SECONDS = 90


def added(client: Client, source: Any, name: str) -> Any:
    """Add a replica, and return it once it follows its source."""
    path = f"/v2/databases/{source['id']}/replicas"
    client.request("POST", path, json={"name": name})
    return following(client, source, name)


def following(client: Client, source: Any, name: str) -> Any:
    def ready() -> Any:
        found = shown(client, source, name)
        return found if found["status"] == "online" and found["cenote"]["health"] == "healthy" else None

    try:
        return wait_until(f"{name} follows", SECONDS, ready)
    except AssertionError:
        print(shown(client, source, name))
        raise


def promoted(client: Client, id: str) -> Any:
    """Return what was a replica once it is a cluster of its own, and online."""

    def ready() -> Any:
        found = client.request("GET", f"/v2/databases/{id}")["database"]
        return found if "replica_of" not in found["cenote"] and found["status"] == "online" else None

    return wait_until("it is a cluster of its own", SECONDS, ready)


def shown(client: Client, source: Any, name: str) -> Any:
    return client.request("GET", f"/v2/databases/{source['id']}/replicas/{name}")["replica"]


def has_row(uri: str, number: int) -> bool:
    with contextlib.suppress(psycopg.Error), psycopg.connect(uri, connect_timeout=5) as connection:
        row = connection.execute("SELECT count(*) FROM facts WHERE number = %s", (number,)).fetchone()
        return row is not None and row[0] == 1
    return False


def write(uri: str, number: int) -> None:
    with psycopg.connect(uri, autocommit=True, connect_timeout=10) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS facts (number int)")
        connection.execute("INSERT INTO facts VALUES (%s)", (number,))
