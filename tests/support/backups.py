"""A service that keeps backups in a directory, and what is in its repository."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.model.paths import ClusterPaths, Layout
from cenote.server import installation
from cenote.server.settings import ServeSettings
from cenote_client import BusyError, Client
from tests.support.pgbackrest import version
from tests.support.service import Service, online_cluster
from tests.support.waiting import wait_until

SECONDS = 120


@dataclass
class Kept:
    """A service that keeps backups in a directory, and a cluster of it."""

    running: Service
    repository: Path
    client: Client
    cluster: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.cluster["id"])

    @property
    def uri(self) -> str:
        return str(self.cluster["connection"]["uri"])

    @property
    def paths(self) -> ClusterPaths:
        return Layout(self.running.data_dir).cluster(UUID(self.id))

    def backups(self) -> Any:
        """Return the answer, None while there is no backup."""
        with contextlib.suppress(BusyError):
            return self.client.databases.list_backups(self.id)
        return None

    def health(self) -> tuple[str, str]:
        seen: Any = self.client.databases.get_cluster(self.id)["database"]
        return seen["cenote"]["health"], seen["cenote"]["reason"]

    def switch(self) -> str:
        """Have the server begin another segment, as it does after a minute; return the name of the last."""
        return end_segment(self.paths.sockets, self.cluster["connection"]["port"])

    def has(self, segment: str) -> bool:
        """Return whether a segment is in the archive."""
        return any(self.repository.glob(f"archive/{self.id}/*/*/{segment}-*"))

    def with_cluster(self, name: str) -> Kept:
        """Return the same with another cluster, which has a first backup and is not due for another one."""
        cluster: Any = online_cluster(self.client, name, version=version())
        hour = (datetime.now(UTC) + timedelta(hours=12)).hour
        self.client.request(
            "PATCH", f"/v2/databases/{cluster['id']}/config", json={"config": {"backup_hour": hour}}
        )
        made = Kept(self.running, self.repository, self.client, cluster)
        wait_until("the first backup is made", SECONDS, lambda: made.backups() is not None)
        wait_until("it is healthy", SECONDS, lambda: made.health() == ("healthy", ""))
        return made

    def types(self) -> list[str]:
        found = self.backups()
        return [] if found is None else [backup["cenote"]["type"] for backup in found["backups"]]


def end_segment(sockets: Path, port: int) -> str:
    """Have a server begin another segment of WAL, as its superuser; return the name of the last one."""
    with psycopg.connect(
        host=str(sockets), port=port, user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        return str(row[0])


def as_servers(*argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    account = installation.server_account(ServeSettings())
    return subprocess.run(
        [str(part) for part in argv],
        cwd=cwd,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
