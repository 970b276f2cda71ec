"""Paths below the data directory, and the command lines of a node's servers.

Sockets have a directory of their own with a short name: the path of a unix socket is limited to 107 bytes.
"""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from cenote.errors import Misconfigured
from cenote.model.changes import Program
from cenote.model.records import LogSource

_MAX_SOCKET_PATH = 107  # bytes, sun_path of unix(7)
_SINK_FILE = re.compile(r"sink-([0-9a-f-]{36})\.json")


@dataclass(frozen=True, slots=True)
class Layout:
    data_dir: Path

    @property
    def clusters(self) -> Path:
        return self.data_dir / "clusters"

    @property
    def sockets(self) -> Path:
        return self.data_dir / "run"

    @property
    def templates(self) -> Path:
        return self.data_dir / "templates"

    @property
    def agent_socket(self) -> Path:
        """The socket on which the agent answers the API, in a folder that only the two can enter."""
        return self.data_dir / "agent" / "agent.sock"

    @property
    def etcd(self) -> Path:
        return self.data_dir / "etcd"

    @property
    def former_etcd(self) -> Path:
        """A copy of etcd's data, and of the sealing key, from before the records were migrated."""
        return self.data_dir / "etcd-before-2"

    @property
    def etcd_client(self) -> Path:
        """The folder of etcd's socket for clients."""
        return self.data_dir / "etcd-client"

    @property
    def sealing_key(self) -> Path:
        return self.data_dir / "sealing.key"

    @property
    def authority(self) -> Path:
        """The CA certificate of the API."""
        return self.data_dir / "ca.crt"

    @property
    def authority_key(self) -> Path:
        return self.data_dir / "ca.key"

    @property
    def bundle(self) -> Path:
        """The system's CA certificates and ours, for programs that replace the system's by one file."""
        return self.data_dir / "ca-bundle.crt"

    @property
    def api_certificate(self) -> Path:
        return self.data_dir / "api.pem"

    @property
    def lock(self) -> Path:
        return self.data_dir / "serve.lock"

    @property
    def address(self) -> Path:
        """The URL of the API at its last start."""
        return self.data_dir / "address"

    @property
    def identity(self) -> Path:
        """The host's id and name, and the id of its store."""
        return self.data_dir / "host.json"

    @property
    def admin_token(self) -> Path:
        return self.data_dir / "admin-token"

    def node(self, cluster_id: UUID) -> NodePaths:
        return NodePaths(self.clusters / str(cluster_id), self.sockets / cluster_id.hex[:12])

    def nodes(self) -> list[NodePaths]:
        """Return the nodes that have a directory here; one that is being removed has another name."""
        found = []
        for folder in sorted(self.clusters.glob("*")):
            with contextlib.suppress(ValueError):
                found.append(self.node(UUID(folder.name)))
        return found

    def check(self) -> None:
        """Raise Misconfigured when a socket's path would be too long for the kernel."""
        longest = self.sockets / ("x" * 12) / ".s.PGSQL.65535.lock"
        excess = len(str(longest).encode()) - _MAX_SOCKET_PATH
        if excess > 0:
            raise Misconfigured(
                f"the path {self.data_dir} is too long for the unix sockets below it, by {excess} bytes; "
                "choose a shorter one with --data-dir"
            )


@dataclass(frozen=True, slots=True)
class NodePaths:
    root: Path
    sockets: Path

    @property
    def data(self) -> Path:
        return self.root / "pg"

    @property
    def pooler(self) -> Path:
        return self.root / "pgbouncer"

    @property
    def certificate(self) -> Path:
        return self.root / "tls" / "server.pem"

    @property
    def requested_key(self) -> Path:
        """The private key that a certificate was requested for and not received yet."""
        return self.root / "tls" / "server.key.new"

    def log(self, source: LogSource) -> Path:
        return self.root / ("postgresql.log" if source is LogSource.POSTGRES else "pgbouncer.log")

    def sink(self, id: UUID) -> Path:
        """The positions of a log sink."""
        return self.root / f"sink-{id}.json"

    def server(self, binaries: Path) -> Program:
        return Program(
            name="PostgreSQL",
            argv=(str(binaries / "postgres"), "-D", str(self.data)),
            directory=self.data,
            pid_file=self.data / "postmaster.pid",
            log=self.log(LogSource.POSTGRES),
            stamp=self.root / "postgresql.loaded",
            stop_signal=signal.SIGINT,  # fast shutdown: sessions end, and the next start needs no recovery
        )

    def bouncer(self, binary: Path) -> Program:
        return Program(
            name="PgBouncer",
            argv=(str(binary), str(self.pooler / "pgbouncer.ini")),
            directory=self.pooler,
            pid_file=self.pooler / "pgbouncer.pid",
            log=self.log(LogSource.PGBOUNCER),
            stamp=self.root / "pgbouncer.loaded",
            stop_signal=signal.SIGQUIT,  # SIGTERM waits for clients since 1.23
            kill_after=5.0,
        )


def sink_id(file_name: str) -> UUID | None:
    """Return the log sink whose positions are in a file of this name; None for other files."""
    found = _SINK_FILE.fullmatch(file_name)
    try:
        return None if found is None else UUID(found[1])
    except ValueError:
        return None
