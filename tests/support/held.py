"""Clients that stay connected while the service is exchanged, and what a customer sees of his clusters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from cenote_client import Client
from tests.support.service import SMALLEST, added_pool, online

RULES = [{"type": "ip_addr", "value": value} for value in ("127.0.0.0/8", "::1", "192.0.2.0/24")]
CHOSEN = {"work_mem": 7}
SINK = {
    "sink_name": "archive",
    "sink_type": "rsyslog",
    "config": {"server": "192.0.2.1", "port": 514, "tls": False, "format": "rfc5424"},
}
LISTS = {
    "users": "users",
    "pools": "pools",
    "dbs": "dbs",
    "firewall": "rules",
    "logsink": "sinks",
    "events": "events",
}
_IDENTITY = "SELECT pg_backend_pid(), pg_postmaster_start_time()"


def add_clusters(client: Client, names: Iterable[str]) -> list[str]:
    """Create clusters with pools, users, rules, sinks and tags; return their ids when all are online."""
    ids = []
    for name in names:
        tags = [f"tag-{name}", "shared"]
        created = client.request("POST", "/v2/databases", json=SMALLEST | {"name": name, "tags": tags})
        ids.append(created["database"]["id"])
    for id in ids:
        online(client, id)
        path = f"/v2/databases/{id}"
        client.request("POST", f"{path}/users", json={"name": "app"})
        client.request("POST", f"{path}/dbs", json={"name": "shop"})
        added_pool(client, id, "kept", mode="session")
        added_pool(client, id, "web")
        added_pool(client, id, "as-app", db="shop", user="app")
        client.request("PUT", f"{path}/firewall", json={"rules": RULES})
        client.request("POST", f"{path}/logsink", json=SINK)
        client.request("PATCH", f"{path}/config", json={"config": CHOSEN})
    for id in ids:
        online(client, id)
    return ids


def seen(client: Client) -> dict[str, Any]:
    """Return what the API shows of all clusters, tokens and groups, without what changes by itself."""
    clusters = client.request("GET", "/v2/databases", params={"per_page": 200})["databases"]
    found = {
        "databases": {one["id"]: one for one in clusters},
        "metrics": client.request("GET", "/v2/databases/metrics/credentials"),
        "tokens": _by_id(client.request("GET", "/v2/cenote/tokens", params={"per_page": 200})["tokens"]),
        "tags": _by_id(client.request("GET", "/v2/tags", params={"per_page": 200})["tags"]),
        "vpcs": _by_id(client.request("GET", "/v2/vpcs")["vpcs"]),
        "projects": _by_id(client.request("GET", "/v2/projects")["projects"]),
    }
    for id in found["databases"]:
        path = f"/v2/databases/{id}"
        settings = client.request("GET", f"{path}/config")["config"]
        # A version has its own values for all others.
        found[id] = {
            "ca": client.request("GET", f"{path}/ca"),
            "config": {key: settings[key] for key in CHOSEN},
        }
        for part, key in LISTS.items():
            answer = client.request("GET", f"{path}/{part}", params={"per_page": 200})
            found[id][part] = _by_id(answer[key])
    return found


def lost(before: Any, after: Any, where: str = "") -> list[str]:
    """Return what is no longer as it was; additions are fine, and so are changes of ``cenote``, the state."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            line
            for key, value in before.items()
            if key not in ("cenote", "links", "meta", "updated_at")
            for line in lost(value, after.get(key), f"{where}/{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for number, pair in pairs for line in lost(*pair, f"{where}/{number}")]
    return [] if before == after else [f"{where}: {before!r} is {after!r}"]


def _by_id(things: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        str(thing.get("id") or thing.get("uuid") or thing.get("sink_id") or thing["name"]): thing
        for thing in things
    }


@dataclass
class Held:
    """A connection, and who serves it."""

    where: str
    connection: psycopg.Connection[Any]
    backend: int
    started: datetime

    def differences(self) -> list[str]:
        """Return what the connection's backend and server are by now, where they are others."""
        try:
            found = self.connection.execute(_IDENTITY).fetchone()
        except psycopg.Error as error:
            return [f"{self.where}: {error}"]
        expected = (self.backend, self.started)
        return [] if found == expected else [f"{self.where}: {found}, no longer {expected}"]


@contextlib.contextmanager
def held_clients(client: Client, ids: Iterable[str]) -> Iterator[list[Held]]:
    """For each cluster one client of the server, one of a transaction pool, one of a session pool.

    The first two are in a transaction and have written a row that nobody else sees yet.
    """
    with contextlib.ExitStack() as stack:
        held = []
        for id in ids:
            cluster = client.request("GET", f"/v2/databases/{id}")["database"]
            pools = client.request("GET", f"/v2/databases/{id}/pools")["pools"]
            uris = {pool["name"]: pool["connection"]["uri"] for pool in pools}
            with psycopg.connect(cluster["connection"]["uri"]) as connection:
                connection.execute("CREATE TABLE rows (written_by text)")
            for where in ("direct", "web", "kept"):
                uri = uris.get(where, cluster["connection"]["uri"])
                connection = stack.enter_context(psycopg.connect(uri, autocommit=where == "kept"))
                if where == "kept":
                    connection.execute("CREATE TEMP TABLE rows AS SELECT 'kept' AS written_by")
                else:
                    connection.execute("INSERT INTO rows VALUES (%s)", (where,))
                row = connection.execute(_IDENTITY).fetchone()
                assert row is not None
                held.append(Held(f"{cluster['name']}, {where}", connection, *row))
        yield held


def committed(held: Iterable[Held]) -> list[str]:
    """Commit every transaction; return what is not there afterwards."""
    missing = []
    for one in held:
        try:
            one.connection.commit()
            rows = one.connection.execute("SELECT written_by FROM rows").fetchall()
            one.connection.commit()
        except psycopg.Error as error:
            missing.append(f"{one.where}: {error}")
            continue
        if (one.where.rpartition(", ")[2],) not in rows:
            missing.append(f"{one.where}: its row is not among {rows}")
    return missing
