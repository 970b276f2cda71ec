"""A cluster of three nodes, or fewer, on hosts of their own: its nodes, servers and pools."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import conninfo

from cenote.host import processes
from cenote.model.paths import Layout, NodePaths
from cenote.model.processes import Process
from cenote_client import BusyError, Client, NetworkError, ServerError
from tests.support.fleet import FleetHost
from tests.support.service import SMALLEST, added_pool
from tests.support.waiting import wait_until

POOL_SIZE = 5
MADE_SECONDS, HEALTHY_SECONDS, API_SECONDS = 180.0, 120.0, 60.0


class Trio:
    """``uris`` are those of its pool, through each of ``places``: the hosts that had a node at first."""

    def __init__(
        self, hosts: Sequence[FleetHost], client: Client, name: str = "trio", nodes: int | None = None
    ) -> None:
        """``nodes``: how many; as many as there are hosts, if it is not said."""
        self.hosts, self.client = hosts, client
        self._count = nodes or len(hosts)
        wanted = SMALLEST | {"name": name, "num_nodes": self._count}
        self.id = UUID(client.request("POST", "/v2/databases", json=wanted)["database"]["id"])
        self.wait_until_healthy(MADE_SECONDS)
        addresses = [one["host"] for one in self._poolers()]
        self.places = [next(host for host in hosts if host.address == address) for address in addresses]
        self.uris = self.added_pool("app", POOL_SIZE)
        self.on_primary("CREATE TABLE ledger (writer int, number int)", database="defaultdb")
        self.on_primary("GRANT ALL ON ledger TO doadmin", database="defaultdb")

    def added_pool(self, name: str, size: int) -> list[str]:
        """Add a pool, if it is not there, and return its URIs through each host with a node."""
        path = f"/v2/databases/{self.id}/pools"
        there = self.client.request("GET", path)["pools"]
        found = [one for one in there if one["name"] == name]
        pool = (found[0] if found else added_pool(self.client, str(self.id), name, size=size))["connection"]
        place = f"@{pool['host']}:{pool['port']}/"
        return [pool["uri"].replace(place, f"@{one['host']}:{one['pool_port']}/") for one in self._poolers()]

    def _poolers(self) -> Any:
        found = self.shown()
        return found["cenote"]["uris"]["hosts"]

    @contextmanager
    def replica(self, name: str) -> Iterator[str]:
        """Add a read replica, yield its id once it follows, and delete it in the end."""
        path = f"/v2/databases/{self.id}/replicas"
        id = self.client.request("POST", path, json={"name": name})["replica"]["id"]
        try:
            self.wait_until_healthy(MADE_SECONDS, id)
            yield id
        finally:
            self.client.request("DELETE", f"{path}/{name}")

    def ask(self, client: Client) -> None:
        """Ask another host's API from now on."""
        self.client = client

    def shown(self, id: str = "") -> Any:
        """Return what the API shows, once it can: not while its store chooses a leader, say.

        ``id`` is that of a read replica.
        """

        def ask() -> Any:
            with contextlib.suppress(BusyError, NetworkError, ServerError):
                return self.client.request("GET", f"/v2/databases/{id or self.id}")["database"]
            return None

        return wait_until("the API answers", API_SECONDS, ask)

    def events(self, type: str, id: str = "") -> list[str]:
        """What the events of a type say, the newest first; ``id`` is that of a read replica."""
        found = self.client.request("GET", f"/v2/databases/{id or self.id}/events?per_page=200")["events"]
        return [one["cenote"]["summary"] for one in found if one["event_type"] == type]

    def configure(self, **settings: Any) -> None:
        self.client.request("PATCH", f"/v2/databases/{self.id}/config", json={"config": settings})

    def configured(self, name: str) -> Any:
        """Return the value of a setting that is wanted."""
        return self.client.request("GET", f"/v2/databases/{self.id}/config")["config"].get(name)

    def reason(self) -> str:
        """What is told of its health."""
        return str(self.shown()["cenote"]["reason"])

    def resize(self, size: str = "", nodes: int | None = None) -> None:
        self._count = nodes or self._count
        wanted = {"size": size or self.shown()["size"], "num_nodes": self._count}
        self.client.request("PUT", f"/v2/databases/{self.id}/resize", json=wanted)

    def switch(self) -> None:
        self.client.request("POST", f"/v2/databases/{self.id}/switchover", json={})

    def update(self) -> None:
        self.client.request("PUT", f"/v2/databases/{self.id}/install_update")

    def wait_until_healthy(self, seconds: float = HEALTHY_SECONDS, id: str = "") -> None:
        def is_healthy() -> bool:
            found = self.shown(id)
            return bool(found["status"] == "online" and found["cenote"]["health"] == "healthy")

        try:
            wait_until("all nodes are as wanted", seconds, is_healthy)
        except AssertionError:
            print(self.shown(id)["cenote"])
            raise

    def primary(self) -> str:
        """Return the name of the node that takes writes."""
        found = [node["name"] for node in self._nodes() if node["role"] == "primary"]
        return str(found[0]) if found else ""

    def _nodes(self) -> Any:
        found = self.shown()
        if "nodes" in found["cenote"]:
            return found["cenote"]["nodes"]
        host = next(one for one in self.hosts if one.name == found["cenote"]["host"])
        [name] = [one.name for one in Layout(host.data_dir).cluster(self.id).nodes()]
        return [{"name": name, "role": "primary", "host": host.name, "port": found["connection"]["port"]}]

    def standbys(self) -> list[str]:
        return [node["name"] for node in self._nodes() if node["role"] == "standby"]

    def host(self, node: str) -> FleetHost:
        [name] = [one["host"] for one in self._nodes() if one["name"] == node]
        return next(host for host in self.hosts if host.name == name)

    def paths(self, node: str) -> NodePaths:
        return Layout(self.host(node).data_dir).node(self.id, node)

    def server(self, node: str) -> Process:
        found = processes.find(self.paths(node).server(Path()))
        assert found is not None, f"PostgreSQL of {node} does not run"
        return found

    def kill(self, node: str) -> None:
        """Kill the postmaster of a node."""
        os.kill(self.server(node).pid, signal.SIGKILL)

    def all_of(self, node: str) -> list[int]:
        """Return the pids of a node's PostgreSQL and Patroni."""
        agent = processes.find(self.paths(node).failover_agent(Path()))
        pids = self.servers_of(node)
        return pids if agent is None else [agent.pid, *pids]

    def servers_of(self, node: str) -> list[int]:
        """Return the pids of a node's PostgreSQL."""
        return [process.pid for process in processes.below(self.paths(node).data)]

    def rows(self, node: str, query: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Ask a node's server as the superuser; [] if the query has no rows."""
        with psycopg.connect(self.conninfo(node, database), autocommit=True) as connection:
            done = connection.execute(query.encode())
            return done.fetchall() if done.description else []

    def conninfo(self, node: str, database: str) -> str:
        """Return how the superuser connects to a node's server."""
        port = next(one["port"] for one in self._nodes() if one["name"] == node)
        sockets = Layout(self.host(node).data_dir).cluster(self.id).sockets
        return conninfo.make_conninfo(
            host=str(sockets), port=port, user="postgres", dbname=database, connect_timeout=5
        )

    def on_primary(self, query: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        primary = wait_until("a node takes writes", HEALTHY_SECONDS, self.primary)
        return self.rows(primary, query, database=database)

    def quorum(self) -> int:
        """Return for how many standbys commits wait, as the primary says."""
        query = "SELECT count(*)::int FROM pg_stat_replication WHERE sync_state = 'quorum'"
        return int(self.on_primary(query)[0][0])


@contextmanager
def trio(hosts: Sequence[FleetHost], nodes: int | None = None) -> Iterator[Trio]:
    with hosts[0].client() as client:
        yield Trio(hosts, client, nodes=nodes)
