"""The decoded records by kind, as the watch cache keeps them."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from cenote.model.event_records import Event
from cenote.model.fleet_records import (
    AdmittedHost,
    CertificateRequest,
    FleetAuthority,
    Host,
    HostDomain,
    HostDrain,
    HostRequest,
    JoinToken,
    KeyErrand,
    KeyRecipient,
    NameInDns,
    NameServerState,
    Presence,
    RemovedHost,
)
from cenote.model.groups import DEFAULT_NETWORKS, DEFAULT_PROJECT, VPC, Project, Tag
from cenote.model.records import Cluster, MetricsLogin, Token, Tombstone
from cenote.model.status_records import NodeStatus
from cenote.rules.host_states import Gone
from cenote.store.encoding import NewerFormat, decode
from cenote.store.keys import Keys

T = TypeVar("T")

log = logging.getLogger(__name__)


class Stored(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A record and the revision of its last change."""

    value: T
    revision: int


class Tables:
    """All records that are cached.

    Of one that cannot be decoded the last good version stays, and ``unreadable`` names it.  ``newer`` has
    the format of those that a newer version wrote; these are in no table.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._cluster = msgspec.json.Decoder(Cluster)
        self._deleted = msgspec.json.Decoder(Tombstone)
        self._report = msgspec.json.Decoder(NodeStatus)
        self._host = msgspec.json.Decoder(Host)
        self._presence = msgspec.json.Decoder(Presence)
        self._request = msgspec.json.Decoder(CertificateRequest)
        self._authority = msgspec.json.Decoder(FleetAuthority)
        self._join_token = msgspec.json.Decoder(JoinToken)
        self._admitted = msgspec.json.Decoder(AdmittedHost)
        self._host_request = msgspec.json.Decoder(HostRequest)
        self._drain = msgspec.json.Decoder(HostDrain)
        self._removed_host = msgspec.json.Decoder(RemovedHost)
        self._key_recipient = msgspec.json.Decoder(KeyRecipient)
        self._key_errand = msgspec.json.Decoder(KeyErrand)
        self._token = msgspec.json.Decoder(Token)
        self._metrics_login = msgspec.json.Decoder(MetricsLogin)
        self._event = msgspec.json.Decoder(Event)
        self._tag = msgspec.json.Decoder(Tag)
        self._project = msgspec.json.Decoder(Project)
        self._network = msgspec.json.Decoder(VPC)
        self._name_in_dns = msgspec.json.Decoder(NameInDns)
        self._host_domain = msgspec.json.Decoder(HostDomain)
        self._name_server_state = msgspec.json.Decoder(NameServerState)
        self.clusters: dict[UUID, Stored[Cluster]] = {}
        self.replicas: dict[UUID, set[UUID]] = {}  # the ids of clusters by those that they follow
        self.left_by_replicas: set[UUID] = set()  # those that a replica has followed, until they are told
        self.deleted: dict[UUID, Tombstone] = {}
        self.names: dict[str, UUID] = {}
        self.ports: dict[str, dict[int, UUID]] = {}
        self.reports: dict[tuple[str, UUID, str], NodeStatus] = {}  # by host, cluster and node
        self.hosts: dict[str, Host] = {}
        self.presences: dict[str, Presence] = {}
        self.gone: dict[str, Gone] = {}  # when presences have ended, as seen by this process
        self.requests: dict[tuple[str, UUID], Stored[CertificateRequest]] = {}
        self.certificates: dict[tuple[str, UUID], str] = {}
        self.fleet_authority: FleetAuthority | None = None
        self.join_tokens: dict[str, JoinToken] = {}
        self.admitted: dict[str, AdmittedHost] = {}
        self.host_requests: dict[str, Stored[HostRequest]] = {}
        self.host_certificates: dict[str, str] = {}
        self.drains: dict[str, HostDrain] = {}
        self.removed: dict[str, RemovedHost] = {}
        self.key_recipients: dict[str, KeyRecipient] = {}
        self.key_errands: dict[str, Stored[KeyErrand]] = {}
        self.tokens: dict[str, Token] = {}
        self.metrics_login: MetricsLogin | None = None
        self.refusals: dict[str, Event] = {}
        self.tags: dict[str, Tag] = {}
        self.projects: dict[UUID, Project] = {}
        self.networks: dict[UUID, VPC] = {}
        self.names_in_dns: dict[str, NameInDns] = {}
        self.dns_names_of: dict[UUID, set[str]] = {}  # by the ids of clusters
        self.host_domains: dict[str, HostDomain] = {}
        self.name_server_state: NameServerState | None = None
        self.unreadable: set[str] = set()
        self.newer: dict[str, int] = {}

    def decode_cluster(self, key: str, value: bytes, revision: int) -> Stored[Cluster]:
        return Stored(decode(key, value, self._cluster), revision)

    def is_unknown(self, key: str) -> bool:
        """Return whether the record at this key cannot be read."""
        return key in self.newer or key in self.unreadable

    def check_readable(self, key: str) -> None:
        """Raise NewerFormat when a newer version has written the record at this key."""
        if key in self.newer:
            raise NewerFormat(key, self.newer[key])

    def check_all_readable(self, folder: str) -> None:
        """The same for all records in a folder: a list without one of them would be wrong."""
        for key in self.newer:
            if key.startswith(folder):
                raise NewerFormat(key, self.newer[key])

    def put(self, key: str, value: bytes, revision: int) -> None:
        try:
            self._put(key, value, revision)
            self.unreadable.discard(key)
            self.newer.pop(key, None)
        except NewerFormat as error:
            log.error("%s", error)
            self.remove(key)
            self.newer[key] = error.format
        except (msgspec.DecodeError, ValueError) as error:
            log.error("the record %s cannot be read: %s", key, error)
            if not key.startswith(self._keys.not_vital):
                self.unreadable.add(key)

    def _put(self, key: str, value: bytes, revision: int) -> None:
        match self._keys.steps(key):
            case ["clusters", id]:
                self._put_cluster(UUID(id), self.decode_cluster(key, value, revision))
            case ["deleted", id]:
                self.deleted[UUID(id)] = decode(key, value, self._deleted)
            case ["names", name]:
                self.names[name] = UUID(value.decode())
            case ["ports", host, port]:
                self.ports.setdefault(host, {})[int(port)] = UUID(value.decode())
            case ["reports", host, id, node]:
                self.reports[host, UUID(id), node] = decode(key, value, self._report)
            case ["hosts", id]:
                self._put_host(id, decode(key, value, self._host))
            case ["presence", id]:
                self.presences[id] = decode(key, value, self._presence)
                self.gone.pop(id, None)
            case ["csr", host, id]:
                self.requests[host, UUID(id)] = Stored(decode(key, value, self._request), revision)
            case ["certificates", host, id]:
                self.certificates[host, UUID(id)] = value.decode()
            case ["fleet", *rest]:
                self._put_of_fleet(rest, key, value, revision)
            case ["tokens", sha256_hex]:
                self.tokens[sha256_hex] = decode(key, value, self._token)
            case ["logins", "metrics"]:
                self.metrics_login = decode(key, value, self._metrics_login)
            case ["refusals", id]:
                self.refusals[id] = decode(key, value, self._event)
            case ["tags", name]:
                self.tags[name] = decode(key, value, self._tag)
            case ["projects", id]:
                self.projects[UUID(id)] = decode(key, value, self._project)
            case ["networks", id]:
                self.networks[UUID(id)] = decode(key, value, self._network)
            case ["dns", "names", name]:
                self._put_name_in_dns(name, decode(key, value, self._name_in_dns))
            case ["dns", "hosts", id]:
                self.host_domains[id] = decode(key, value, self._host_domain)
            case ["dns", "state"]:
                self.name_server_state = decode(key, value, self._name_server_state)

    def _put_cluster(self, id: UUID, stored: Stored[Cluster]) -> None:
        self._remove_replica(id)
        self.clusters[id] = stored
        if (source := stored.value.replica_of) is not None:
            self.replicas.setdefault(source, set()).add(id)

    def _remove_replica(self, id: UUID) -> None:
        former = self.clusters.get(id)
        source = None if former is None else former.value.replica_of
        if source is None or source not in self.replicas:
            return
        self.left_by_replicas.add(source)
        self.replicas[source].discard(id)
        if not self.replicas[source]:
            del self.replicas[source]

    def _put_host(self, id: str, host: Host) -> None:
        if host.id != id:  # its agent writes it, and could speak for another host
            raise ValueError(f"it says that it is of the host {host.id}")
        self.hosts[id] = host

    def _put_name_in_dns(self, name: str, known: NameInDns) -> None:
        self._remove_name_in_dns(name)
        self.names_in_dns[name] = known
        self.dns_names_of.setdefault(known.cluster_id, set()).add(name)

    def _remove_name_in_dns(self, name: str) -> None:
        former = self.names_in_dns.pop(name, None)
        if former is None:
            return
        names = self.dns_names_of[former.cluster_id]
        names.discard(name)
        if not names:
            del self.dns_names_of[former.cluster_id]

    def _put_of_fleet(self, steps: list[str], key: str, value: bytes, revision: int) -> None:
        match steps:
            case ["authority"]:
                self.fleet_authority = decode(key, value, self._authority)
            case ["tokens", sha256_hex]:
                self.join_tokens[sha256_hex] = decode(key, value, self._join_token)
            case ["admitted", id]:
                self.admitted[id] = decode(key, value, self._admitted)
            case ["requests", id]:
                self.host_requests[id] = Stored(decode(key, value, self._host_request), revision)
            case ["certificates", id]:
                self.host_certificates[id] = value.decode()
            case ["drains", id]:
                self.drains[id] = decode(key, value, self._drain)
            case ["removed", id]:
                self.removed[id] = decode(key, value, self._removed_host)
            case ["recipients", id]:
                self.key_recipients[id] = decode(key, value, self._key_recipient)
            case ["errands", id]:
                self.key_errands[id] = Stored(decode(key, value, self._key_errand), revision)

    def remove(self, key: str) -> None:
        self.unreadable.discard(key)
        self.newer.pop(key, None)
        try:
            self._remove(key)
        except ValueError:
            return  # a key that never could be read

    def _remove(self, key: str) -> None:
        match self._keys.steps(key):
            case ["clusters", id]:
                self._remove_replica(UUID(id))
                self.clusters.pop(UUID(id), None)
            case ["deleted", id]:
                self.deleted.pop(UUID(id), None)
            case ["names", name]:
                self.names.pop(name, None)
            case ["ports", host, port]:
                self.ports.get(host, {}).pop(int(port), None)
            case ["reports", host, id, node]:
                self.reports.pop((host, UUID(id), node), None)
            case ["hosts", id]:
                self.hosts.pop(id, None)
                self.gone.pop(id, None)
            case ["presence", id]:
                if self.presences.pop(id, None) is not None:
                    self.gone[id] = Gone(since=datetime.now(UTC).replace(microsecond=0), at=time.monotonic())
            case ["csr", host, id]:
                self.requests.pop((host, UUID(id)), None)
            case ["certificates", host, id]:
                self.certificates.pop((host, UUID(id)), None)
            case ["fleet", *rest]:
                self._remove_of_fleet(rest)
            case ["tokens", sha256_hex]:
                self.tokens.pop(sha256_hex, None)
            case ["logins", "metrics"]:
                self.metrics_login = None
            case ["refusals", id]:
                self.refusals.pop(id, None)
            case ["tags", name]:
                self.tags.pop(name, None)
            case ["projects", id]:
                self.projects.pop(UUID(id), None)
            case ["networks", id]:
                self.networks.pop(UUID(id), None)
            case ["dns", "names", name]:
                self._remove_name_in_dns(name)
            case ["dns", "hosts", id]:
                self.host_domains.pop(id, None)
            case ["dns", "state"]:
                self.name_server_state = None

    def _remove_of_fleet(self, steps: list[str]) -> None:
        match steps:
            case ["authority"]:
                self.fleet_authority = None
            case ["tokens", sha256_hex]:
                self.join_tokens.pop(sha256_hex, None)
            case ["admitted", id]:
                self.admitted.pop(id, None)
            case ["requests", id]:
                self.host_requests.pop(id, None)
            case ["certificates", id]:
                self.host_certificates.pop(id, None)
            case ["drains", id]:
                self.drains.pop(id, None)
            case ["removed", id]:
                self.removed.pop(id, None)
            case ["recipients", id]:
                self.key_recipients.pop(id, None)
            case ["errands", id]:
                self.key_errands.pop(id, None)

    def name_of(self, id: str) -> str:
        """Return the name of a project, VPC, host or cluster; its id if it is not known."""
        if id in self.hosts:
            return self.hosts[id].name
        try:
            uuid = UUID(id)
        except ValueError:
            return id
        project = self.projects.get(uuid, DEFAULT_PROJECT if uuid == DEFAULT_PROJECT.id else None)
        network = self.networks.get(uuid, DEFAULT_NETWORKS.get(uuid))
        cluster = self.clusters.get(uuid)
        named = (project, network, None if cluster is None else cluster.value)
        return next((one.name for one in named if one is not None), id)

    def cluster_of(self, key: str) -> UUID | None:
        """Return the cluster that a change of this key is about, if any."""
        match self._keys.steps(key):
            case ["clusters" | "deleted", id] | ["csr" | "certificates", _, id]:
                try:
                    return UUID(id)
                except ValueError:
                    return None
        return None

    def reported_cluster(self, key: str) -> UUID | None:
        """Return the cluster that the report at this key is on, if it is one."""
        match self._keys.steps(key):
            case ["reports", _, id, _]:
                try:
                    return UUID(id)
                except ValueError:
                    return None
        return None
