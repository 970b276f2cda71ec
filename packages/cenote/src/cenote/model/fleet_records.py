"""Records of a fleet: its hosts, who has joined, the members of its store, keys and names in DNS."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cenote.model.record import Record


class HostRole(StrEnum):
    """What a host does: it serves the API, runs clusters, or is a member of the store."""

    API = "api"
    DATABASE = "database"
    STORE = "store"


ALL_ROLES = tuple(HostRole)


class ServiceCopy(Record, frozen=True, kw_only=True):
    """The backups of the service that a host makes by itself.

    ``at`` is the time of the newest, None without one, ``problem`` why the last attempt has made none.
    """

    at: datetime | None = None
    problem: str = ""


class Host(Record, frozen=True, kw_only=True):
    """A machine that runs nodes; its record stays while the machine is away.

    ``versions`` maps a major version to the full one found there.  ``reads`` is the highest format of records
    that its version of Cenote, ``cenote_version``, can read.  ``fleet_address`` and ``fleet_port`` are where
    other hosts reach it (``model/fleet_ports.py``); they are empty for a host that stands alone.
    """

    id: str
    name: str
    address: str
    memory_mib: int
    cpus: int
    versions: dict[str, str]
    first_port: int
    last_port: int
    busy_ports: tuple[int, ...] = ()  # in use by other programs
    libraries: dict[str, tuple[str, ...]] = {}  # loadable by a server of each version
    extensions: dict[str, tuple[str, ...]] = {}  # available to customers, by version
    cenote_version: str = ""
    reads: int = 0
    keys: tuple[str, ...] = ()  # the ids of the sealing keys that its API can open, as the next
    host_keys: tuple[str, ...] = ()
    seen_at: datetime | None = None  # when it last started or changed
    disk_mib: int = 0  # the file system of its data directory; 0 if an older version wrote the record
    roles: tuple[HostRole, ...] = ALL_ROLES
    zone: str = ""
    fleet_address: str = ""
    fleet_port: int = 0
    unknown: tuple[str, ...] = ()  # nodes that are here and that no record names, as ``<cluster id>/<node>``
    service_copy: ServiceCopy | None = None  # None: it makes none
    repository: str = ""  # where it keeps backups, in words; empty: nowhere
    backup_days: int = 0
    default_repository: bool = False  # nobody has said where
    repository_warning: str = ""  # why what is there is no backup of this host
    repository_problem: str = ""  # why it cannot be used
    repository_id: str = ""  # what a mark in it says; empty: not known, or from a former version
    drill_days: int = 0  # between two restore drills of a cluster; 0: only when they are asked for
    patroni: str = ""  # the version found there, without which it runs no cluster of several nodes


class FleetAuthority(Record, frozen=True, kw_only=True):
    """The CA of the hosts' certificates: its own one in PEM, and its private key sealed by ring ``api``."""

    certificate: str
    sealed_key: str

    def __repr__(self) -> str:
        return "FleetAuthority(…)"


class JoinToken(Record, frozen=True, kw_only=True):
    """A token with which one host may join, known by the SHA-256 of its text; the text itself is not kept."""

    id: UUID
    roles: tuple[HostRole, ...]
    created_at: datetime
    expires_at: datetime


class AdmittedHost(Record, frozen=True, kw_only=True):
    """A host that has joined.  Its certificates are issued for this, whatever it asks for.

    ``port`` is its ``--fleet-port``.  ``token`` and ``key`` are hashes of what it was admitted with, so that
    it may ask again when the answer was lost; a host that has begun the fleet has none.
    """

    name: str
    address: str
    roles: tuple[HostRole, ...]
    at: datetime
    zone: str = ""
    port: int = 0
    token: str = ""
    key: str = ""


class StoreMember(Record, frozen=True, kw_only=True):
    """Which member the etcd of a host is: its id among the members of the store."""

    member: int


class HostDrain(Record, frozen=True, kw_only=True):
    """The wish that a host gives away its nodes and takes no others; ``nodes`` were on it at that time."""

    asked_at: datetime
    nodes: int = 0


class RemovedHost(Record, frozen=True, kw_only=True):
    """What is left of a host that was removed, so that it cannot come back; ``lost`` with what was on it."""

    name: str
    at: datetime
    lost: bool = False


class HostRequest(Record, frozen=True, kw_only=True):
    """A host's request for its certificate of the fleet, in PEM; names and roles are the admitted host's."""

    pem: str


class Presence(Record, frozen=True, kw_only=True):
    """An agent that is alive, written under a lease.

    ``run`` is drawn at each start, at ``started_at``.  ``directory`` tells the data directory from a copy of
    it.  ``unseen`` are the nodes that it has not passed over since its start, ``stalled`` those whose pass
    does not end; each is ``<cluster id>/<node>``.
    """

    run: str
    directory: str
    unseen: tuple[str, ...] = ()
    stalled: tuple[str, ...] = ()
    started_at: datetime | None = None


class CertificateRequest(Record, frozen=True, kw_only=True):
    """A host's request for the certificate of a cluster's servers, in PEM; the names are the record's."""

    pem: str


class HostDomain(Record, frozen=True, kw_only=True):
    """The domain that a host was started with, and the name server that is told of names in it."""

    domain: str
    server: str = ""


class NameInDns(Record, frozen=True, kw_only=True):
    """A host name in the operator's name server.

    ``target`` is where it leads, an address or a host name, "" while it is not there for certain.
    ``problem`` is why this name cannot be set, in words.
    """

    cluster_id: UUID
    target: str = ""
    problem: str = ""


class NameServerState(Record, frozen=True, kw_only=True):
    """Why no name can be set in the operator's name server, in words, or ""; and since when it is so."""

    problem: str = ""
    since: datetime | None = None


class KeyRecipient(Record, frozen=True, kw_only=True):
    """How the API of a host can be told secrets, until it is started again."""

    public_key: str


class KeyErrand(Record, frozen=True, kw_only=True):
    """What the API of a host is to do with a sealing key (``store/key_sharing.py``).

    ``box`` is the key, for that process alone.  ``problem`` is why it is not done.
    """

    id: UUID
    ring: str
    action: str
    key_id: str
    box: str = ""
    problem: str = ""

    def __repr__(self) -> str:
        return f"KeyErrand(ring={self.ring!r}, action={self.action!r}, key_id={self.key_id!r})"
