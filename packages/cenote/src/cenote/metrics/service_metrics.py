"""The metrics of the service itself: its API, agent, store and process."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cenote import __version__
from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.records import ClusterStatus
from cenote.model.topology import Health
from cenote.stats.counters import Requests
from cenote.stats.observer import AgentNumbers
from cenote.stats.process import ProcessNumbers

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
    ("cluster", "health"),
)
CLUSTER_FAILING = Family(
    "cenote_agent_cluster_failing",
    Kind.GAUGE,
    "1 for each cluster whose configuration the agent fails to apply.",
    ("cluster",),
)
HOST_UNKNOWN = Family(
    "cenote_host_unknown_nodes",
    Kind.GAUGE,
    "Nodes on a host that no record names; they are left as they are.",
    ("host",),
)
STORE = Family("cenote_store_connected", Kind.GAUGE, "Whether etcd answers, so that records are current.")
PASSES = Family(
    "cenote_agent_passes_total",
    Kind.COUNTER,
    "Reconciliation passes over nodes by outcome; a quiet one was skipped, since nothing had happened.",
    ("outcome",),
)
PASS_SECONDS = Family(
    "cenote_agent_pass_seconds", Kind.HISTOGRAM, "Duration of reconciliation passes over nodes."
)
BEHIND = Family(
    "cenote_agent_behind_seconds", Kind.GAUGE, "Age of the oldest change not yet applied to a node."
)
AGENT_UP = Family("cenote_agent_up", Kind.GAUGE, "Whether the agent answered this scrape.")


def _process(prefix: str, process: str) -> dict[str, Family]:
    """Return the families of a process, named as in the client libraries of Prometheus."""
    counter, gauge = Kind.COUNTER, Kind.GAUGE
    return {
        "cpu_seconds": Family(f"{prefix}_cpu_seconds_total", counter, f"CPU time of {process}."),
        "resident_bytes": Family(f"{prefix}_resident_memory_bytes", gauge, f"Resident memory of {process}."),
        "virtual_bytes": Family(f"{prefix}_virtual_memory_bytes", gauge, f"Virtual memory of {process}."),
        "started_at": Family(f"{prefix}_start_time_seconds", gauge, f"When {process} was started."),
        "open_files": Family(f"{prefix}_open_fds", gauge, f"Open file descriptors of {process}."),
        "max_open_files": Family(f"{prefix}_max_fds", gauge, f"Maximum open file descriptors of {process}."),
    }


API_PROCESS = _process("process", "the API's process")
AGENT_PROCESS = _process("cenote_agent_process", "the agent's process")
SUPERVISOR_PROCESS = {  # what the API may see of it
    field: family
    for field, family in _process("cenote_supervisor_process", "the supervisor's process").items()
    if field not in ("open_files", "max_open_files")
}

FAMILIES = (
    *(BUILD, REQUESTS, REQUEST_SECONDS, API_CERTIFICATE, API_CERTIFICATE_VALID, CLUSTERS),
    *(CLUSTER_HEALTH, CLUSTER_FAILING, HOST_UNKNOWN, STORE),
    *API_PROCESS.values(),
    *(AGENT_UP, PASSES, PASS_SECONDS, BEHIND),
    *AGENT_PROCESS.values(),
    *SUPERVISOR_PROCESS.values(),
)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The status of each cluster, its health by name, the names of those that fail, and whether etcd answers.

    ``certificate_expires_at`` is a Unix time, None if it is unknown; ``unknown`` has how many nodes of each
    host are in no record.
    """

    statuses: Iterable[ClusterStatus]
    healths: Mapping[str, Health]
    failing: Iterable[str]
    connected: bool
    certificate_expires_at: float | None = None
    certificate_valid: bool | None = None
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)


def collect(
    requests: Requests,
    state: ServiceState,
    process: ProcessNumbers,
    supervisor: ProcessNumbers | None,
    agent: AgentNumbers | None,
) -> Page:
    """Return the metrics; ``agent`` is None if it did not answer."""
    page = Page()
    page.add(BUILD, 1, version=__version__, python=platform.python_version())
    for (method, path, code), count in requests.responses.items():
        page.add(REQUESTS, count, method=method, path=path, status=str(code))
    for (method, path), histogram in requests.seconds.items():
        page.add_histogram(REQUEST_SECONDS, histogram, method=method, path=path)
    counts = dict.fromkeys(ClusterStatus, 0)
    for status in state.statuses:
        counts[status] += 1
    for status, count in counts.items():
        page.add(CLUSTERS, count, status=status)
    for name, found in state.healths.items():
        for health in Health:
            page.add(CLUSTER_HEALTH, found is health, cluster=name, health=health)
    for name in state.failing:
        page.add(CLUSTER_FAILING, 1, cluster=name)
    for name, number in state.unknown.items():
        page.add(HOST_UNKNOWN, number, host=name)
    page.add(STORE, state.connected)
    page.add(API_CERTIFICATE, state.certificate_expires_at)
    page.add(API_CERTIFICATE_VALID, state.certificate_valid)
    _add_process(page, API_PROCESS, process)
    if supervisor is not None:
        _add_process(page, SUPERVISOR_PROCESS, supervisor)
    page.add(AGENT_UP, agent is not None)
    if agent is not None:
        _add_agent(page, agent)
    return page


def _add_agent(page: Page, agent: AgentNumbers) -> None:
    for outcome, count in agent.passes.outcomes.items():
        page.add(PASSES, count, outcome=outcome)
    page.add_histogram(PASS_SECONDS, agent.passes.seconds)
    page.add(BEHIND, agent.passes.behind)
    _add_process(page, AGENT_PROCESS, agent.process)


def _add_process(page: Page, families: dict[str, Family], process: ProcessNumbers) -> None:
    for field, family in families.items():
        page.add(family, getattr(process, field))
