"""The key of each kind of record in etcd, below one prefix.

What a host writes stands below its own id, since etcd's access rights are by prefix.  Names are quoted, so
that they contain no slash.
"""

from __future__ import annotations

from urllib.parse import quote, unquote
from uuid import UUID

from cenote.model.groups import VPC, Group, Project, Tag
from cenote.store.event_ids import EventIds

NO_CLUSTER = "-"  # in place of a cluster's id, for events that are of none


class Keys:
    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") + "/"
        self.prefix = f"{self.root}v2/"
        self.event_ids = EventIds()  # for the last parts of keys

    @property
    def marker(self) -> str:
        """The record of the store itself: its id and format.  Without it the records are of format 1."""
        return f"{self.root}store"

    @property
    def not_cached(self) -> tuple[str, ...]:
        """The folders that only grow or that nobody reads twice."""
        return self.all_events, self.all_history, f"{self.prefix}marks/"

    @property
    def not_vital(self) -> tuple[str, ...]:
        """The folders that the service can do without a record of: rejected requests, names in a name server,
        and what hosts write.

        So a host that writes nonsense keeps no API from starting.
        """
        names = ("refusals", "dns", "reports", "csr", "presence", "hosts", "certificates", "fleet/requests")
        return tuple(f"{self.prefix}{name}/" for name in names)

    # -- What Patroni keeps, beside all of ours

    @property
    def failover(self) -> str:
        """The folder of Patroni's keys, which it gives each cluster a folder in."""
        return f"{self.root.rstrip('/')}-patroni/"

    def failover_of(self, cluster_id: UUID) -> str:
        return f"{self.failover}{cluster_id}/"

    # -- Clusters

    @property
    def clusters(self) -> str:
        return f"{self.prefix}clusters/"

    def cluster(self, id: UUID) -> str:
        return f"{self.clusters}{id}"

    @property
    def all_deleted(self) -> str:
        return f"{self.prefix}deleted/"

    def deleted(self, id: UUID) -> str:
        return f"{self.all_deleted}{id}"

    @property
    def all_history(self) -> str:
        return f"{self.prefix}history/"

    def history(self, cluster_id: UUID) -> str:
        return f"{self.all_history}{cluster_id}/"

    def name(self, name: str) -> str:
        return f"{self.prefix}names/{quote(name, safe='')}"

    def ports_of(self, host_id: str) -> str:
        return f"{self.prefix}ports/{quote(host_id, safe='')}/"

    def port(self, host_id: str, port: int) -> str:
        return f"{self.ports_of(host_id)}{port}"

    # -- Hosts

    @property
    def hosts(self) -> str:
        return f"{self.prefix}hosts/"

    def host(self, id: str) -> str:
        return f"{self.hosts}{quote(id, safe='')}"

    @property
    def host_names(self) -> str:
        return f"{self.prefix}host_names/"

    def host_name(self, name: str) -> str:
        return f"{self.host_names}{quote(name, safe='')}"

    @property
    def presences(self) -> str:
        return f"{self.prefix}presence/"

    def presence(self, host_id: str) -> str:
        return f"{self.presences}{quote(host_id, safe='')}"

    @property
    def all_reports(self) -> str:
        return f"{self.prefix}reports/"

    def reports_of(self, host_id: str) -> str:
        return f"{self.all_reports}{quote(host_id, safe='')}/"

    def reports(self, host_id: str, cluster_id: UUID) -> str:
        return f"{self.reports_of(host_id)}{cluster_id}/"

    def report(self, host_id: str, cluster_id: UUID, node: str) -> str:
        return self.reports(host_id, cluster_id) + quote(node, safe="")

    def requests_of(self, host_id: str) -> str:
        return f"{self.prefix}csr/{quote(host_id, safe='')}/"

    def request(self, host_id: str, cluster_id: UUID) -> str:
        """A certificate signing request of a host for the servers of a cluster."""
        return f"{self.requests_of(host_id)}{cluster_id}"

    def certificates_of(self, host_id: str) -> str:
        return f"{self.prefix}certificates/{quote(host_id, safe='')}/"

    def certificate(self, host_id: str, cluster_id: UUID) -> str:
        return f"{self.certificates_of(host_id)}{cluster_id}"

    # -- The fleet

    @property
    def fleet(self) -> str:
        return f"{self.prefix}fleet/"

    @property
    def fleet_authority(self) -> str:
        return f"{self.fleet}authority"

    @property
    def join_tokens(self) -> str:
        return f"{self.fleet}tokens/"

    def join_token(self, sha256_hex: str) -> str:
        return f"{self.join_tokens}{sha256_hex}"

    def admitted(self, host_id: str) -> str:
        return f"{self.fleet}admitted/{quote(host_id, safe='')}"

    def host_request(self, host_id: str) -> str:
        """A host's request for its certificate of the fleet."""
        return f"{self.fleet}requests/{quote(host_id, safe='')}"

    def host_certificate(self, host_id: str) -> str:
        return f"{self.fleet}certificates/{quote(host_id, safe='')}"

    @property
    def drains(self) -> str:
        return f"{self.fleet}drains/"

    def key_recipient(self, host_id: str) -> str:
        """How the API of a host can be told secrets."""
        return f"{self.fleet}recipients/{quote(host_id, safe='')}"

    def key_errand(self, host_id: str) -> str:
        """What the API of a host is to do with a sealing key."""
        return f"{self.fleet}errands/{quote(host_id, safe='')}"

    def store_member(self, host_id: str) -> str:
        """What the etcd of a host is to start as."""
        return f"{self.fleet}members/{quote(host_id, safe='')}"

    def drain(self, host_id: str) -> str:
        """The mark of a host that is drained."""
        return f"{self.drains}{quote(host_id, safe='')}"

    @property
    def removed_hosts(self) -> str:
        return f"{self.fleet}removed/"

    def removed_host(self, host_id: str) -> str:
        """The mark of a host that was removed."""
        return f"{self.removed_hosts}{quote(host_id, safe='')}"

    # -- The service

    @property
    def tokens(self) -> str:
        return f"{self.prefix}tokens/"

    def token(self, sha256_hex: str) -> str:
        return f"{self.tokens}{sha256_hex}"

    @property
    def metrics_login(self) -> str:
        return f"{self.prefix}logins/metrics"

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

    def group(self, group: Group) -> str:
        match group:
            case Tag():
                return self.tag(group.name)
            case Project():
                return self.project(group.id)
            case VPC():
                return self.network(group.id)

    def name_in_dns(self, name: str) -> str:
        """A name in the operator's name server."""
        return f"{self.prefix}dns/names/{quote(name, safe='')}"

    def host_domain(self, host_id: str) -> str:
        """The domain that a host was started with; not in its own record, which its agent writes."""
        return f"{self.prefix}dns/hosts/{quote(host_id, safe='')}"

    @property
    def name_server_state(self) -> str:
        return f"{self.prefix}dns/state"

    @property
    def all_events(self) -> str:
        return f"{self.prefix}events/"

    def events(self, cluster_id: UUID | None) -> str:
        return f"{self.all_events}{cluster_id or NO_CLUSTER}/"

    def event(self, cluster_id: UUID | None, id: str) -> str:
        return f"{self.events(cluster_id)}{id}"

    def refusal(self, id: str) -> str:
        return f"{self.prefix}refusals/{id}"

    def retired_key(self, sealing_key: str) -> str:
        """The tombstone of a sealing key: with it, nothing that the key has sealed is written any more."""
        return f"{self.prefix}retired_keys/{sealing_key}"

    def mark(self, owner: str, writer: UUID, number: int) -> str:
        """A writer's marker; ``owner`` is the id of a host, or ``api``."""
        return f"{self.prefix}marks/{quote(owner, safe='')}/{writer}/{number}"

    @property
    def controller(self) -> str:
        """The lease of the controller that is elected."""
        return f"{self.prefix}leases/controller"

    @property
    def member_keeper(self) -> str:
        """The lease of the process that decides which hosts are members of the store."""
        return f"{self.prefix}leases/members"

    @property
    def all_store_members(self) -> str:
        return f"{self.fleet}members/"

    @property
    def all_admitted(self) -> str:
        return f"{self.fleet}admitted/"

    def steps(self, key: str) -> list[str]:
        return [unquote(step) for step in key.removeprefix(self.prefix).split("/")]
