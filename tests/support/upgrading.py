"""A service with two major versions of PostgreSQL, whose clusters are upgraded from one to the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

from cenote.model.paths import Layout
from cenote.model.topology import SHARED
from cenote_client import Client
from tests.support import two_versions
from tests.support.service import SMALLEST, WITHOUT_LIMITS, Service, answer_of, online_cluster, service, tried
from tests.support.ssh_server import PROGRAMS
from tests.support.waiting import wait_until

NEWER_BACKUPS = PROGRAMS / "trixie" / "usr" / "bin"  # Debian 13's pgBackRest
ENDS = ("was upgraded from", "was not upgraded to")  # of an upgrade, in its event
CHECKSUM: LiteralString = "SELECT md5(string_agg(goods::text, ',' ORDER BY id)) FROM goods"
GOODS = (
    "CREATE TABLE goods (id int PRIMARY KEY, label text, tags text[])",
    "INSERT INTO goods SELECT n, 'good ' || n, ARRAY['a', n::text] FROM generate_series(1, 5000) AS n",
)
_TEMPLATE = "SELECT datallowconn FROM pg_database WHERE datname = 'template1'"


@dataclass
class Site:
    running: Service
    client: Client
    older: str
    newer: str

    def cluster(self, id: str) -> Any:
        return self.client.request("GET", f"/v2/databases/{id}")["database"]

    def made(self, name: str, **fields: Any) -> Any:
        return online_cluster(self.client, name, version=self.older, **fields)

    def upgrade(self, id: str, version: str = "") -> None:
        body = {"version": version or self.newer}
        self.client.request("PUT", f"/v2/databases/{id}/upgrade", json=body)

    def names(self) -> list[str]:
        """Return the names of all clusters."""
        return [one["name"] for one in self.client.request("GET", "/v2/databases?per_page=200")["databases"]]

    def summaries(self, id: str) -> list[str]:
        """Return what the events of a cluster say."""
        found = self.client.request("GET", f"/v2/databases/{id}/events?per_page=200")["events"]
        return [event["cenote"]["summary"] for event in found]

    def ends(self, id: str) -> list[str]:
        """Return the events of the ends of upgrades."""
        return [text for text in self.summaries(id) if text.startswith(ENDS)]

    def several(self, name: str, nodes: int) -> Any:
        """Return a new cluster with several nodes, on this one host, once all of them are as wanted."""
        fields = SMALLEST | {"name": name, "num_nodes": nodes, "version": self.older}
        id = self.client.request("POST", "/v2/databases", json=fields)["database"]["id"]
        return self.settled(id, ends=0, reason=SHARED)

    def settled(self, id: str, ends: int = 1, reason: str = "") -> Any:
        """Return a cluster once so many upgrades of it are over, in one way or the other."""

        def over() -> Any:
            cluster = self.cluster(id)
            is_over = len(self.ends(id)) >= ends and cluster["status"] == "online"
            return cluster if is_over and cluster["cenote"]["reason"] == reason else None

        return wait_until(f"the upgrade of {id} is over", 240, over)

    def remains(self, id: str) -> list[str]:
        """Return what an upgrade has left that is over; the last of it goes after its end is known."""
        with contextlib.suppress(AssertionError):
            wait_until("nothing is left of it", 30, lambda: not self._there(id))
        return self._there(id)

    def _there(self, id: str) -> list[str]:
        root = Layout(self.running.data_dir).clusters / id
        names = sorted(path.name for path in root.glob("*") if path.name.startswith(("up", "other", "vac")))
        names += [path.name for path in root.glob("pg_upgrade*")]
        cluster = self.cluster(id)
        return [*names, *(["template1 is open"] if is_template_open(cluster["connection"]["uri"]) else [])]


def is_template_open(uri: str) -> bool:
    return bool(answer_of(uri, _TEMPLATE))


def version_of(uri: str) -> str | None:
    """Return the major version of the server that answers, None if none does."""
    number = tried(uri, "SELECT current_setting('server_version_num')::int / 10000")
    return None if number is None else str(number)


@contextlib.contextmanager
def site(*, backups: bool = False, clusters: int = 24, on_disk: bool = False) -> Iterator[Site]:
    """With ``backups``, by a pgBackRest that reads both versions."""
    older, newer, folders = two_versions.pair()
    environment = {"PATH": f"{NEWER_BACKUPS}:{os.environ['PATH']}"} if backups else {}
    given = [*WITHOUT_LIMITS, *folders]
    with (
        service(
            *given,
            backups_by_default=backups,
            environment=environment,
            clusters=clusters,
            on_disk=on_disk,
        ) as running,
        running.client() as client,
    ):
        yield Site(running, client, older, newer)
