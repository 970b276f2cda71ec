"""Clusters on a fleet that keeps backups in one repository, and what of them is in the archive."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from cenote.host import processes
from cenote.model.paths import ClusterPaths, Layout
from cenote_client import BusyError, Client
from tests.support.backups import end_segment
from tests.support.fleet import Fleet, fleet
from tests.support.folders import server_folder
from tests.support.pgbackrest import version
from tests.support.ports import free_range, give_back
from tests.support.service import Service, added_pool, online_cluster
from tests.support.waiting import wait_until

SECONDS = 180
PORTS = 12


@dataclass
class BackedUp:
    """A cluster with a backup, a pool and a table ``kept`` of numbers."""

    repository: Path
    id: str
    cluster: Any
    pool: Any

    @property
    def uri(self) -> str:
        return str(self.cluster["connection"]["uri"])

    def paths(self, host: Service) -> ClusterPaths:
        return Layout(host.data_dir).cluster(UUID(self.id))

    def archived(self) -> set[str]:
        """Return the names of the segments in the archive, without what follows them."""
        found = self.repository.glob(f"archive/{self.id}/*/*/*")
        return {path.name[:24] for path in found if ".partial" not in path.name}

    def switch(self, host: Service) -> str:
        """Have the server on a host begin another segment; return the name of the last one."""
        return end_segment(self.paths(host).sockets, self._port(host))

    def _port(self, host: Service) -> int:
        """Return the port of the server on a host, below that of the pooler; a recovery may change it."""
        found = self.paths(host).sockets.glob(".s.PGSQL.*")
        return min(int(path.suffix[1:]) for path in found if path.suffix != ".lock")

    def archive(self, host: Service) -> str:
        """Have all that was written until now archived; return the name of the segment."""
        segment = self.switch(host)
        wait_until("the segment is archived", SECONDS, lambda: segment in self.archived())
        return segment


@contextlib.contextmanager
def backed_up_fleet(count: int = 2, *options: str, joined: bool = False) -> Iterator[tuple[Fleet, Path]]:
    """Hosts that keep backups in one directory, with that directory."""
    with server_folder() as folder:
        repository = folder / "repository"
        first = free_range(PORTS)
        try:
            ports = f"--ports={first}-{first + PORTS - 1}"  # the same, so that a cluster keeps its own
            with fleet(count, f"--backups=file://{repository}", ports, *options, joined=joined) as hosts:
                yield hosts, repository
        finally:
            give_back(first, PORTS)


def backed_up(client: Client, repository: Path, name: str, **fields: Any) -> BackedUp:
    """Make a cluster, and wait for its first backup."""
    id = online_cluster(client, name, version=version(), **fields)["id"]
    pool = added_pool(client, id, "web")
    made = BackedUp(repository, id, client.databases.get_cluster(id)["database"], pool)
    add(made.uri, [0])
    wait_until("the first backup is made", SECONDS, lambda: has_backup(client, id))
    return made


def has_backup(client: Client, id: str) -> bool:
    with contextlib.suppress(BusyError):
        return bool(client.databases.list_backups(id)["backups"])
    return False


def add(uri: str, numbers: Iterable[int], **connection: Any) -> None:
    with psycopg.connect(uri, autocommit=True, connect_timeout=60, **connection) as opened:
        opened.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        for number in numbers:
            opened.execute("INSERT INTO kept VALUES (%s)", (number,))


def kept(uri: str, **connection: Any) -> list[int]:
    with psycopg.connect(uri, connect_timeout=60, **connection) as opened:
        return [row[0] for row in opened.execute("SELECT value FROM kept ORDER BY value")]


def lose(host: Service) -> None:
    """Kill the service and all its servers at once, as a machine that loses its power."""
    pids = {host.pid, *host.processes().values()}
    for pid in (*pids, *(process.pid for process in processes.below(host.data_dir))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    host.wait()
    for process in processes.below(host.data_dir):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def cut_off(host: Service) -> list[int]:
    """Freeze the service of a host, and not its servers; return the pids, to be let go on."""
    frozen = [host.pid, *host.processes().values()]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    return frozen


def go_on(frozen: Iterable[int]) -> None:
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
