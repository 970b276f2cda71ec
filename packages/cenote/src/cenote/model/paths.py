"""Paths below the data directory, and the command lines of a cluster's servers.

The pooler, sockets and certificate of a cluster are there once on each host (``ClusterPaths``); data, log and
positions once for each node (``NodePaths``).  Node names become part of paths that root writes to, so only
harmless ones are accepted.

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
from cenote.model.records import NODE_NAME, LogSource

STANDBY_SIGNAL = "standby.signal"
PATRONI_LOG = "patroni.log"  # its own name for it, in the folder that its configuration gives
FIRST_NODE = "node-1"  # its files have no name of a node in theirs
# Names of programs.
PG_UPGRADE, VACUUMDB = "pg_upgrade", "vacuumdb"
POSTGRESQL, PGBOUNCER, BASE_BACKUP, PATRONI = "PostgreSQL", "PgBouncer", "pg_basebackup", "Patroni"
RECOVERY = "PostgreSQL in recovery"
# Before a program that is to be in nobody's way; util-linux and coreutils have them on every system that
# Debian's packages of ours run on.
IDLE = ("/usr/bin/nice", "-n", "19", "/usr/bin/ionice", "-c", "3")

_MAX_SOCKET_PATH = 107  # bytes, sun_path of unix(7)
_NODE_NAME = re.compile(NODE_NAME)
_DATA = re.compile(r"pg(?:-(.+))?")
_DRAFT = re.compile(r"copying(?:-(.+))?")
_STAMP = re.compile(r"postgresql(?:-(.+))?\.loaded")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    def former_sealing_key(self) -> Path:
        """The key ring of former versions, which becomes ring ``api``."""
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
    def fleet(self) -> Path:
        """This host's key and certificate of the fleet, and the fleet's CA certificate."""
        return self.data_dir / "fleet"

    @property
    def fleet_authority(self) -> Path:
        return self.fleet / "ca.pem"

    @property
    def fleet_certificate(self) -> Path:
        return self.fleet / "host.pem"

    @property
    def fleet_key(self) -> Path:
        return self.fleet / "host.key"

    @property
    def fleet_attempt(self) -> Path:
        """Who this host is while it has not joined yet."""
        return self.fleet / "joining.json"

    @property
    def fleet_renewal(self) -> Path:
        """The key of this host that a new certificate was asked for."""
        return self.fleet / "renewal.json"

    @property
    def store_access(self) -> Path:
        """How this host reaches the store that it was given when it joined."""
        return self.fleet / "store.json"

    @property
    def store_authority(self) -> Path:
        """The CA, the certificate and the key for an etcd outside, if there are any."""
        return self.fleet / "store-ca.pem"

    @property
    def store_certificate(self) -> Path:
        return self.fleet / "store.pem"

    @property
    def store_key(self) -> Path:
        return self.fleet / "store.key"

    @property
    def service_copy(self) -> Path:
        """How the last attempt of an automatic backup of the service ended."""
        return self.data_dir / "service-backup.json"

    @property
    def restoring(self) -> Path:
        """The mark of a restore that has not come to its end."""
        return self.data_dir / "restoring"

    @property
    def members(self) -> Path:
        """Where the members of the store answered last."""
        return self.data_dir / "members.json"

    @property
    def trash(self) -> Path:
        """What was removed by the agent of itself, for some days."""
        return self.data_dir / "trash"

    @property
    def own_repository(self) -> Path:
        """Where backups are kept if nobody says where."""
        return self.data_dir / "backups"

    @property
    def repository_check(self) -> Path:
        """The configuration with which the repository for backups is asked, in a folder of its own."""
        return self.data_dir / "pgbackrest" / "pgbackrest.conf"

    @property
    def repository_key(self) -> Path:
        """The private key for the repository's SFTP server, beside it."""
        return self.data_dir / "pgbackrest" / "sftp-key"

    @property
    def unknown(self) -> Path:
        """The nodes here that no record names, as the agent has found them."""
        return self.data_dir / "unknown.json"

    @property
    def admin_token(self) -> Path:
        return self.data_dir / "admin-token"

    @property
    def keys(self) -> Path:
        """The agent's secrets, which only the service's user may read."""
        return self.data_dir / "keys"

    @property
    def host_keys(self) -> Path:
        """The agent's copy of the key ring ``host``."""
        return self.keys / "host.key"

    @property
    def etcd_root_password(self) -> Path:
        return self.keys / "etcd-root"

    @property
    def etcd_agent_password(self) -> Path:
        return self.keys / "etcd-agent"

    @property
    def api(self) -> Path:
        """The secrets of the API.  The folder is its account's, so root follows no link in it."""
        return self.data_dir / "api"

    @property
    def api_sealing_key(self) -> Path:
        """The key ring ``api``."""
        return self.api / "sealing.key"

    @property
    def api_host_keys(self) -> Path:
        """The API's copy of the key ring ``host``."""
        return self.api / "host.key"

    @property
    def etcd_api_password(self) -> Path:
        return self.keys / "etcd-api"

    @property
    def etcd_servers(self) -> Path:
        """The folder with etcd's socket for the servers' account, as which Patroni runs."""
        return self.data_dir / "etcd-servers"

    @property
    def etcd_servers_socket(self) -> Path:
        return self.etcd_servers / "client.sock:0"

    @property
    def etcd_client_socket(self) -> Path:
        return self.etcd_client / "client.sock:0"

    def cluster(self, id: UUID) -> ClusterPaths:
        return ClusterPaths(self.clusters / str(id), self.sockets / id.hex[:12])

    def node(self, cluster_id: UUID, name: str) -> NodePaths:
        """Return the paths of a node; ValueError for a name that no node may have."""
        return NodePaths(self.cluster(cluster_id), name)

    def hosted(self) -> list[ClusterPaths]:
        """Return the clusters that have a directory here; one that is being removed has another name."""
        found = []
        for folder in sorted(self.clusters.glob("*")):
            with contextlib.suppress(ValueError):
                found.append(self.cluster(UUID(folder.name)))
        return found

    def nodes(self) -> list[NodePaths]:
        """Return the nodes that have data here, or whose server was started here."""
        return [node for cluster in self.hosted() for node in cluster.nodes()]

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
class ClusterPaths:
    """What a cluster has once on each host that runs nodes of it."""

    root: Path
    sockets: Path

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

    @property
    def pooler_log(self) -> Path:
        return self.root / "pgbouncer.log"

    @property
    def backups(self) -> Path:
        """What pgBackRest works with here.  It accepts only an archive command that has its name in it."""
        return self.root / "pgbackrest"

    @property
    def backup_configuration(self) -> Path:
        return self.backups / "pgbackrest.conf"

    @property
    def backup_key(self) -> Path:
        """The private key for the repository's SFTP server."""
        return self.backups / "sftp-key"

    @property
    def backup_state(self) -> Path:
        """The folder that pgBackRest and the archive script write into."""
        return self.backups / "state"

    @property
    def archive_script(self) -> Path:
        return self.backups / "archive"

    @property
    def drill(self) -> Path:
        """Where a backup is restored for a drill, with all that this needs."""
        return self.root / "drill"

    @property
    def drill_data(self) -> Path:
        return self.drill / "data"

    @property
    def drill_sockets(self) -> Path:
        return self.sockets / "d"

    @property
    def recovery_sockets(self) -> Path:
        """The sockets of a server that replays WAL into restored data."""
        return self.sockets / "r"

    def bouncer(self, binary: Path) -> Program:
        return Program(
            name=PGBOUNCER,
            argv=(str(binary), str(self.pooler / "pgbouncer.ini")),
            directory=self.pooler,
            pid_file=self.pooler / "pgbouncer.pid",
            log=self.pooler_log,
            stamp=self.root / "pgbouncer.loaded",
            stop_signal=signal.SIGQUIT,  # SIGTERM waits for clients since 1.23
            kill_after=5.0,
        )

    def nodes(self) -> list[NodePaths]:
        """Return the nodes that have data here, or whose server was started here, by name."""
        return self._named(_DATA, _STAMP)

    def copied(self) -> list[NodePaths]:
        """Return the nodes whose data is being copied from another host."""
        return self._named(_DRAFT)

    def _named(self, *patterns: re.Pattern[str]) -> list[NodePaths]:
        found = (pattern.fullmatch(path.name) for path in self.root.glob("*") for pattern in patterns)
        names = {match[1] or FIRST_NODE for match in found if match is not None}
        return [NodePaths(self, name) for name in sorted(names) if _NODE_NAME.search(name)]


def recovery_server(data: Path, work: Path, binaries: Path, *arguments: str) -> Program:
    """Return the server that replays WAL into restored data, with the lowest priority."""
    return Program(
        name=RECOVERY,
        argv=(*IDLE, str(binaries / "postgres"), "-D", str(data), *arguments),
        directory=data,
        pid_file=data / "postmaster.pid",
        log=work / "recovery.log",
        stamp=work / "recovery.started",
        stop_signal=signal.SIGINT,
    )


@dataclass(frozen=True, slots=True)
class NodePaths:
    """What each node of a cluster has for itself.

    The files of the first node are named as before there were several: a folder that moves breaks a running
    server.
    """

    cluster: ClusterPaths
    name: str

    def __post_init__(self) -> None:
        if _NODE_NAME.search(self.name) is None:
            raise ValueError(f"{self.name!r} cannot be the name of a node")

    @property
    def _suffix(self) -> str:
        return "" if self.name == FIRST_NODE else f"-{self.name}"

    @property
    def data(self) -> Path:
        return self.cluster.root / f"pg{self._suffix}"

    @property
    def draft(self) -> Path:
        """Where the data of another node is copied to; it becomes ``data`` when it is complete."""
        return self.cluster.root / f"copying{self._suffix}"

    @property
    def former_data(self) -> Path:
        """Data that could not follow the primary any more, until a copy of the primary's does."""
        return self.cluster.root / f"former{self._suffix}"

    @property
    def cannot_follow(self) -> Path:
        """The mark on data that cannot follow: they could not be rewound, or the WAL for them is gone."""
        return self.patroni / "cannot-follow"

    @property
    def patroni_memory(self) -> Path:
        """What Patroni was last told by the store that all nodes follow; in the data, by its own name."""
        return self.data / "patroni.dynamic.json"

    @property
    def rewound(self) -> Path:
        """What Patroni leaves when the data were rewound; it was written last when that began."""
        return self.patroni / "rewound"

    @property
    def other_data(self) -> Path:
        """The data of another major version: the one to come, and after the upgrade the former one."""
        return self.cluster.root / f"other-version{self._suffix}"

    @property
    def upgrade_folder(self) -> Path:
        """Where the programs of an upgrade work."""
        return self.cluster.root / f"upgrading{self._suffix}"

    @property
    def upgrade_state(self) -> Path:
        """How far the upgrade to another major version is."""
        return self.cluster.root / f"upgrading{self._suffix}.json"

    @property
    def restore_work(self) -> Path:
        """What a restore into ``draft`` needs: the configuration of pgBackRest, sockets, logs."""
        return self.cluster.root / f"restoring{self._suffix}"

    @property
    def restore_state(self) -> Path:
        """How far the restore is, and what the data were restored from."""
        return self.cluster.root / f"restored{self._suffix}.json"

    @property
    def standby_signal(self) -> Path:
        """The file with which a server follows another one; PostgreSQL removes it when it is promoted."""
        return self.data / STANDBY_SIGNAL

    @property
    def given_up(self) -> Path:
        """The mark of a node that has given up writing to another one for good."""
        return self.cluster.root / f"given-up{self._suffix}"

    @property
    def settings(self) -> Path:
        """PostgreSQL's settings where Patroni writes ``postgresql.conf``, which includes them."""
        return self.cluster.root / f"settings{self._suffix}.conf"

    @property
    def patroni(self) -> Path:
        """What Patroni works with, in a folder of the servers' account."""
        return self.cluster.root / f"patroni{self._suffix}"

    @property
    def patroni_configuration(self) -> Path:
        return self.patroni / "patroni.json"

    @property
    def store_certificate(self) -> Path:
        """The certificate with which Patroni reaches the fleet's store; its key is that of the servers'."""
        return self.patroni / "store.pem"

    @property
    def patroni_launcher(self) -> Path:
        return self.patroni / "launcher.pyz"

    @property
    def slot(self) -> str:
        """The name of the replication slot that another node's server has for this one."""
        return "cenote_" + self.name.replace("-", "_")

    def log(self, source: LogSource) -> Path:
        """The log of the node's server, or of the pooler in front of it."""
        if source is LogSource.PGBOUNCER:
            return self.cluster.pooler_log
        return self.cluster.root / f"postgresql{self._suffix}.log"

    def sink(self, id: UUID) -> Path:
        """The positions of a log sink."""
        return self.cluster.root / f"sink{self._suffix}-{id}.json"

    def sink_id(self, file_name: str) -> UUID | None:
        """Return the log sink whose positions for this node a file has; None for other files."""
        prefix, suffix = f"sink{self._suffix}-", ".json"
        id = file_name.removeprefix(prefix).removesuffix(suffix)
        if _UUID.fullmatch(id) is None or file_name != f"{prefix}{id}{suffix}":
            return None
        return UUID(id)

    def files(self) -> list[Path]:
        """Return the files that the node has beside its data."""
        log = self.log(LogSource.POSTGRES)
        known = {
            *(log.name, f"{log.name}.1", self.server(Path()).stamp.name, self.given_up.name),
            *(self.settings.name, self.failover_agent(Path()).stamp.name, self.restore_state.name),
        }
        return sorted(
            path
            for path in self.cluster.root.glob("*")
            if path.name in known or self.sink_id(path.name) is not None
        )

    def base_backup(self, binaries: Path, *arguments: str) -> Program:
        """The program that copies another node's data to ``draft``; it outlives us, like a server."""
        return Program(
            name=BASE_BACKUP,
            argv=(str(binaries / BASE_BACKUP), "--pgdata", str(self.draft), *arguments),
            directory=self.draft,
            pid_file=self.draft / ".pid",  # it writes none; it is found by its stamp
            log=self.cluster.root / f"copying{self._suffix}.log",
            stamp=self.cluster.root / f"copying{self._suffix}.started",
            stop_signal=signal.SIGTERM,
            kill_after=5.0,
        )

    def upgrading(self, name: str, binaries: Path, *arguments: str) -> Program:
        """A program of an upgrade to another major version; it outlives us, like a server."""
        return Program(
            name=name,
            argv=(str(binaries / name), *arguments),
            directory=self.upgrade_folder,
            pid_file=self.upgrade_folder / ".pid",  # it writes none; it is found by its stamp
            log=self.cluster.root / f"{name}{self._suffix}.log",
            stamp=self.cluster.root / f"{name}{self._suffix}.started",
            stop_signal=signal.SIGTERM,
            kill_after=5.0,
        )

    def recovery(self, binaries: Path, *arguments: str) -> Program:
        """The server that replays WAL into ``draft``."""
        return recovery_server(self.draft, self.restore_work, binaries, *arguments)

    def failover_agent(self, python: Path) -> Program:
        """Patroni of this node, run by the Python of its environment.

        What PostgreSQL prints goes where Patroni's own output goes, since it starts PostgreSQL: so that is
        the server's log, and Patroni writes its own messages into its folder.
        """
        return Program(
            name=PATRONI,
            argv=(str(python), "-I", str(self.patroni_launcher), str(self.patroni_configuration)),
            directory=self.patroni,
            pid_file=self.patroni / ".pid",  # it writes none; it is found by its stamp
            log=self.log(LogSource.POSTGRES),
            stamp=self.cluster.root / f"patroni{self._suffix}.loaded",
            stop_signal=signal.SIGTERM,  # it stops PostgreSQL, and lets another node take over
        )

    def server(self, binaries: Path) -> Program:
        return Program(
            name=POSTGRESQL,
            argv=(str(binaries / "postgres"), "-D", str(self.data)),
            directory=self.data,
            pid_file=self.data / "postmaster.pid",
            log=self.log(LogSource.POSTGRES),
            stamp=self.cluster.root / f"postgresql{self._suffix}.loaded",
            stop_signal=signal.SIGINT,  # fast shutdown: sessions end, and the next start needs no recovery
        )
