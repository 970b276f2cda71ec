"""The metrics of the service itself: its API and process, the store, and all hosts with their agents."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

from cenote import __version__
from cenote.metrics import backup_metrics
from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.backups import BackupReport
from cenote.model.fleet_records import Host
from cenote.model.records import ClusterStatus
from cenote.model.topology import Health
from cenote.stats.counters import Requests
from cenote.stats.observer import AgentNumbers
from cenote.stats.process import ProcessNumbers

_MIB = 2**20

BUILD = Family(
    "cenote_build_info", Kind.GAUGE, "Versions of Cenote and Python; always 1.", ("version", "python")
)
REQUESTS = Family(
    "cenote_api_requests_total",
    Kind.COUNTER,
    "Requests by operation and status.",
    ("method", "path", "status"),
)
REQUEST_SECONDS = Family(
    "cenote_api_request_seconds", Kind.HISTOGRAM, "Duration of requests by operation.", ("method", "path")
)
API_CERTIFICATE = Family(
    "cenote_api_certificate_expiry_timestamp_seconds",
    Kind.GAUGE,
    "When the certificate of the API expires, or one that came with it.",
)
API_CERTIFICATE_VALID = Family(
    "cenote_api_certificate_valid",
    Kind.GAUGE,
    "Whether the certificate of the API, and those that came with it, are valid now.",
)
CLUSTERS = Family("cenote_clusters", Kind.GAUGE, "Clusters by status.", ("status",))
CLUSTER_HEALTH = Family(
    "cenote_cluster_health",
    Kind.GAUGE,
    "Health of each cluster: 1 for what it is, 0 for each other one.",
    ("cluster", "host", "node", "health"),
)
CLUSTER_FAILING = Family(
    "cenote_agent_cluster_failing",
    Kind.GAUGE,
    "1 for each cluster whose configuration the agent fails to apply.",
    ("cluster", "host", "node"),
)
STORE = Family("cenote_store_connected", Kind.GAUGE, "Whether etcd answers, so that records are current.")
STORE_VOTERS = Family(
    "cenote_store_voters", Kind.GAUGE, "Members of the private etcd that vote; most of them are needed."
)
STORE_MEMBERS_UP = Family(
    "cenote_store_members_up", Kind.GAUGE, "Members of the private etcd that vote and answer this API."
)
STORE_LEADER = Family(
    "cenote_store_has_leader",
    Kind.GAUGE,
    "Whether the members of the private etcd have a leader, so that changes are taken.",
)
PASSES = Family(
    "cenote_agent_passes_total",
    Kind.COUNTER,
    "Reconciliation passes over nodes by outcome; a quiet one was skipped, since nothing had happened.",
    ("host", "outcome"),
)
PASS_SECONDS = Family(
    "cenote_agent_pass_seconds", Kind.HISTOGRAM, "Duration of reconciliation passes over nodes.", ("host",)
)
BEHIND = Family(
    "cenote_agent_behind_seconds",
    Kind.GAUGE,
    "Age of the oldest change not yet applied to a node.",
    ("host",),
)
AGENT_UP = Family("cenote_agent_up", Kind.GAUGE, "Whether the agent answered this scrape.", ("host",))


def _host(name: str, help: str, *labels: str) -> Family:
    return Family(f"cenote_host_{name}", Kind.GAUGE, help, ("host", *labels))


HOST_INFO = _host(
    "info",
    "Id, address, zone, roles and version of Cenote of each host; always 1.",
    "id",
    "address",
    "zone",
    "roles",
    "version",
)
HOST_UP = _host("up", "Whether the agent of a host is alive, by its presence in the store.")
HOST_SEEN = _host("last_seen_timestamp_seconds", "When a host was last seen to be up.")
HOST_MEMORY = _host("memory_bytes", "Memory of a host.")
HOST_MEMORY_PROMISED = _host("memory_promised_bytes", "Memory of the sizes of all clusters on a host.")
HOST_DISK = _host("disk_bytes", "Size of the disk that has a host's data.")
HOST_DISK_PROMISED = _host("disk_promised_bytes", "Storage allocated to all clusters on a host.")
HOST_CLUSTERS = _host("clusters", "Clusters with a node on a host.")
HOST_SERVICE_COPY = _host(
    "service_backup_timestamp_seconds",
    "When a host has made its newest automatic backup of the service; 0 if it has made none.",
)
HOST_UNKNOWN = _host("unknown_nodes", "Nodes found on a host that no record names; they run on.")


def _process(prefix: str, process: str, *labels: str) -> dict[str, Family]:
    """Return the families of a process, named as in the client libraries of Prometheus."""

    def family(name: str, kind: Kind, help: str) -> Family:
        return Family(f"{prefix}_{name}", kind, f"{help} of {process}.", labels)

    counter, gauge = Kind.COUNTER, Kind.GAUGE
    return {
        "cpu_seconds": family("cpu_seconds_total", counter, "CPU time"),
        "resident_bytes": family("resident_memory_bytes", gauge, "Resident memory"),
        "virtual_bytes": family("virtual_memory_bytes", gauge, "Virtual memory"),
        "started_at": Family(f"{prefix}_start_time_seconds", gauge, f"When {process} was started.", labels),
        "open_files": family("open_fds", gauge, "Open file descriptors"),
        "max_open_files": family("max_fds", gauge, "Maximum open file descriptors"),
    }


API_PROCESS = _process("process", "the API's process")
AGENT_PROCESS = _process("cenote_agent_process", "the agent's process", "host")
SUPERVISOR_PROCESS = {  # what the API may see of it
    field: family
    for field, family in _process("cenote_supervisor_process", "the supervisor's process").items()
    if field not in ("open_files", "max_open_files")
}

FAMILIES = (
    *(BUILD, REQUESTS, REQUEST_SECONDS, API_CERTIFICATE, API_CERTIFICATE_VALID, CLUSTERS),
    *(CLUSTER_HEALTH, CLUSTER_FAILING, STORE, STORE_VOTERS, STORE_MEMBERS_UP, STORE_LEADER),
    *(HOST_INFO, HOST_UP, HOST_SEEN, HOST_MEMORY, HOST_MEMORY_PROMISED, HOST_DISK, HOST_DISK_PROMISED),
    *(HOST_CLUSTERS, HOST_UNKNOWN, HOST_SERVICE_COPY),
    *backup_metrics.FAMILIES,
    *API_PROCESS.values(),
    *(AGENT_UP, PASSES, PASS_SECONDS, BEHIND),
    *AGENT_PROCESS.values(),
    *SUPERVISOR_PROCESS.values(),
)


@dataclass(frozen=True, slots=True)
class ClusterState:
    """A cluster with the node that takes writes, the name of that node's host, and its backups."""

    name: str
    host: str
    node: str
    status: ClusterStatus
    health: Health
    failing: bool
    backups: BackupReport | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """A host; ``seen_at`` is a Unix time, None if it never was, and ``agent`` None if that is silent."""

    host: Host
    up: bool
    seen_at: float | None
    memory_promised_mib: int
    disk_promised_mib: int
    clusters: int
    agent: AgentNumbers | None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All clusters and hosts, and whether etcd answers.

    ``certificate_expires_at`` is a Unix time, None if it is unknown.  ``store_members`` are how many members
    of the store vote, how many of these answer, and whether one leads; None if nobody answers, or if it is an
    etcd of the operator's.
    """

    clusters: Iterable[ClusterState]
    hosts: Iterable[HostState]
    connected: bool
    certificate_expires_at: float | None = None
    certificate_valid: bool | None = None
    store_members: tuple[int, int, bool] | None = None


def collect(
    requests: Requests, state: ServiceState, process: ProcessNumbers, supervisor: ProcessNumbers | None
) -> Page:
    """Return the metrics of an API, and of all hosts as it sees them."""
    page = Page()
    page.add(BUILD, 1, version=__version__, python=platform.python_version())
    for (method, path, code), count in requests.responses.items():
        page.add(REQUESTS, count, method=method, path=path, status=str(code))
    for (method, path), histogram in requests.seconds.items():
        page.add_histogram(REQUEST_SECONDS, histogram, method=method, path=path)
    counts = dict.fromkeys(ClusterStatus, 0)
    for cluster in state.clusters:
        counts[cluster.status] += 1
        place = {"cluster": cluster.name, "host": cluster.host, "node": cluster.node}
        for health in Health:
            page.add(CLUSTER_HEALTH, cluster.health is health, **place, health=health)
        if cluster.failing:
            page.add(CLUSTER_FAILING, 1, **place)
        if cluster.backups is not None:
            backup_metrics.add(page, cluster.backups, **place)
    for status, count in counts.items():
        page.add(CLUSTERS, count, status=status)
    page.add(STORE, state.connected)
    if state.store_members is not None:
        families = (STORE_VOTERS, STORE_MEMBERS_UP, STORE_LEADER)
        for family, number in zip(families, state.store_members, strict=True):
            page.add(family, number)
    page.add(API_CERTIFICATE, state.certificate_expires_at)
    page.add(API_CERTIFICATE_VALID, state.certificate_valid)
    _add_process(page, API_PROCESS, process)
    if supervisor is not None:
        _add_process(page, SUPERVISOR_PROCESS, supervisor)
    for host in state.hosts:
        _add_host(page, host)
        page.add(AGENT_UP, host.agent is not None, host=host.host.name)
        if host.agent is not None:
            _add_agent(page, host.host.name, host.agent)
    return page


def agent_page(host: str, agent: AgentNumbers) -> Page:
    """Return the metrics that an agent gives of itself."""
    page = Page()
    page.add(AGENT_UP, 1, host=host)
    _add_agent(page, host, agent)
    return page


def _add_host(page: Page, state: HostState) -> None:
    host, name = state.host, state.host.name
    page.add(
        HOST_INFO,
        1,
        host=name,
        id=host.id,
        address=host.address,
        zone=host.zone,
        roles=",".join(sorted(host.roles)),
        version=host.cenote_version,
    )
    page.add(HOST_UP, state.up, host=name)
    page.add(HOST_SEEN, state.seen_at, host=name)
    page.add(HOST_MEMORY, host.memory_mib * _MIB, host=name)
    page.add(HOST_MEMORY_PROMISED, state.memory_promised_mib * _MIB, host=name)
    page.add(HOST_DISK, host.disk_mib * _MIB, host=name)
    page.add(HOST_DISK_PROMISED, state.disk_promised_mib * _MIB, host=name)
    page.add(HOST_CLUSTERS, state.clusters, host=name)
    page.add(HOST_UNKNOWN, len(host.unknown), host=name)
    if host.service_copy is not None:
        at = host.service_copy.at
        page.add(HOST_SERVICE_COPY, 0 if at is None else at.timestamp(), host=name)


def _add_agent(page: Page, host: str, agent: AgentNumbers) -> None:
    for outcome, count in agent.passes.outcomes.items():
        page.add(PASSES, count, host=host, outcome=outcome)
    page.add_histogram(PASS_SECONDS, agent.passes.seconds, host=host)
    page.add(BEHIND, agent.passes.behind, host=host)
    _add_process(page, AGENT_PROCESS, agent.process, host=host)


def _add_process(page: Page, families: dict[str, Family], process: ProcessNumbers, **labels: str) -> None:
    for field, family in families.items():
        page.add(family, getattr(process, field), **labels)
