"""The key of each record in etcd, and the decoded records by kind."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from cenote.model.groups import VPC, Group, Project, Tag
from cenote.model.records import Cluster, Event, Host, MetricsLogin, NodeStatus, Token

T = TypeVar("T")

log = logging.getLogger(__name__)


class Stored(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A record and the revision of its last change."""

    value: T
    revision: int


class Keys:
    """The key of each kind of record, below one prefix.  Names are quoted, so they contain no slash."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/") + "/"

    @property
    def clusters(self) -> str:
        return f"{self.prefix}clusters/"

    def cluster(self, id: UUID) -> str:
        return f"{self.clusters}{id}"

    def name(self, name: str) -> str:
        return f"{self.prefix}names/{quote(name, safe='')}"

    def port(self, host: str, port: int) -> str:
        return f"{self.prefix}ports/{quote(host, safe='')}/{port}"

    def status(self, cluster_id: UUID, node_name: str) -> str:
        return self.statuses(cluster_id) + quote(node_name, safe="")

    def statuses(self, cluster_id: UUID) -> str:
        return f"{self.prefix}status/{cluster_id}/"

    def host(self, name: str) -> str:
        return f"{self.prefix}hosts/{quote(name, safe='')}"

    def token(self, sha256_hex: str) -> str:
        return f"{self.tokens}{sha256_hex}"

    def tag(self, name: str) -> str:
        return f"{self.prefix}tags/{quote(name, safe='')}"

    def project(self, id: UUID) -> str:
        return f"{self.prefix}projects/{id}"

    def network(self, id: UUID) -> str:
        return f"{self.prefix}networks/{id}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The folders of all kinds of groups."""
        return f"{self.prefix}tags/", f"{self.prefix}projects/", f"{self.prefix}networks/"

    @property
    def tokens(self) -> str:
        return f"{self.prefix}tokens/"

    def group(self, group: Group) -> str:
        match group:
            case Tag():
                return self.tag(group.name)
            case Project():
                return self.project(group.id)
            case VPC():
                return self.network(group.id)

    @property
    def metrics_login(self) -> str:
        return f"{self.prefix}logins/metrics"

    def event(self, id: str) -> str:
        return f"{self.prefix}events/{id}"

    def refusal(self, id: str) -> str:
        return f"{self.prefix}refusals/{id}"

    def retired_key(self, sealing_key: str) -> str:
        """The tombstone of a sealing key: with it, nothing that the key has sealed is written any more."""
        return f"{self.prefix}retired_keys/{sealing_key}"

    def mark(self, writer: UUID, number: int) -> str:
        return f"{self.prefix}marks/{writer}/{number}"

    def steps(self, key: str) -> list[str]:
        return [unquote(step) for step in key.removeprefix(self.prefix).split("/")]


class Tables:
    """All records.  Of one that cannot be decoded the last good version stays; ``unreadable`` names it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._cluster = msgspec.json.Decoder(Cluster)
        self._status = msgspec.json.Decoder(NodeStatus)
        self._host = msgspec.json.Decoder(Host)
        self._token = msgspec.json.Decoder(Token)
        self._metrics_login = msgspec.json.Decoder(MetricsLogin)
        self._event = msgspec.json.Decoder(Event)
        self._tag = msgspec.json.Decoder(Tag)
        self._project = msgspec.json.Decoder(Project)
        self._network = msgspec.json.Decoder(VPC)
        self.clusters: dict[UUID, Stored[Cluster]] = {}
        self.names: dict[str, UUID] = {}
        self.ports: dict[str, dict[int, UUID]] = {}
        self.statuses: dict[tuple[UUID, str], NodeStatus] = {}
        self.hosts: dict[str, Host] = {}
        self.tokens: dict[str, Token] = {}
        self.metrics_login: MetricsLogin | None = None
        self.events: dict[str, Event] = {}
        self.refusals: dict[str, Event] = {}
        self.tags: dict[str, Tag] = {}
        self.projects: dict[UUID, Project] = {}
        self.networks: dict[UUID, VPC] = {}
        self.unreadable: set[str] = set()

    def decode_cluster(self, value: bytes, revision: int) -> Stored[Cluster]:
        return Stored(self._cluster.decode(value), revision)

    def put(self, key: str, value: bytes, revision: int) -> None:
        try:
            match self._keys.steps(key):
                case ["clusters", id]:
                    self.clusters[UUID(id)] = self.decode_cluster(value, revision)
                case ["names", name]:
                    self.names[name] = UUID(value.decode())
                case ["ports", host, port]:
                    self.ports.setdefault(host, {})[int(port)] = UUID(value.decode())
                case ["status", id, node]:
                    self.statuses[UUID(id), node] = self._status.decode(value)
                case ["hosts", name]:
                    self.hosts[name] = self._host.decode(value)
                case ["tokens", sha256_hex]:
                    self.tokens[sha256_hex] = self._token.decode(value)
                case ["logins", "metrics"]:
                    self.metrics_login = self._metrics_login.decode(value)
                case ["events", id]:
                    self.events[id] = self._event.decode(value)
                case ["refusals", id]:
                    self.refusals[id] = self._event.decode(value)
                case ["tags", name]:
                    self.tags[name] = self._tag.decode(value)
                case ["projects", id]:
                    self.projects[UUID(id)] = self._project.decode(value)
                case ["networks", id]:
                    self.networks[UUID(id)] = self._network.decode(value)
            self.unreadable.discard(key)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("the record %s cannot be read: %s", key, error)
            # An event that is missing changes nothing.
            if not key.startswith((self._keys.event(""), self._keys.refusal(""))):
                self.unreadable.add(key)

    def remove(self, key: str) -> None:
        self.unreadable.discard(key)
        try:
            match self._keys.steps(key):
                case ["clusters", id]:
                    self.clusters.pop(UUID(id), None)
                case ["names", name]:
                    self.names.pop(name, None)
                case ["ports", host, port]:
                    self.ports.get(host, {}).pop(int(port), None)
                case ["status", id, node]:
                    self.statuses.pop((UUID(id), node), None)
                case ["hosts", name]:
                    self.hosts.pop(name, None)
                case ["tokens", sha256_hex]:
                    self.tokens.pop(sha256_hex, None)
                case ["logins", "metrics"]:
                    self.metrics_login = None
                case ["events", id]:
                    self.events.pop(id, None)
                case ["refusals", id]:
                    self.refusals.pop(id, None)
                case ["tags", name]:
                    self.tags.pop(name, None)
                case ["projects", id]:
                    self.projects.pop(UUID(id), None)
                case ["networks", id]:
                    self.networks.pop(UUID(id), None)
        except ValueError:
            return  # a key that never could be read

    def cluster_of(self, key: str) -> UUID | None:
        """The cluster whose record lies at this key, if one does."""
        match self._keys.steps(key):
            case ["clusters", id]:
                try:
                    return UUID(id)
                except ValueError:
                    return None
        return None
