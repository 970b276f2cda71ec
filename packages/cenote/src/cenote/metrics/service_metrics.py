"""The metrics of the service itself: its API, agent, store and process."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

from cenote import __version__
from cenote.metrics.exposition import Family, Kind, Page
from cenote.model.records import ClusterStatus
from cenote.stats.counters import Requests
from cenote.stats.observer import ServiceNumbers

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
    "cenote_api_certificate_expiry_timestamp_seconds", Kind.GAUGE, "When the certificate of the API expires."
)
CLUSTERS = Family("cenote_clusters", Kind.GAUGE, "Clusters by status.", ("status",))
CLUSTER_FAILING = Family(
    "cenote_agent_cluster_failing",
    Kind.GAUGE,
    "1 for each cluster whose configuration the agent fails to apply.",
    ("cluster",),
)
STORE = Family("cenote_store_connected", Kind.GAUGE, "Whether etcd answers, so that records are current.")
PASSES = Family(
    "cenote_agent_passes_total", Kind.COUNTER, "Reconciliation passes over nodes by outcome.", ("outcome",)
)
PASS_SECONDS = Family(
    "cenote_agent_pass_seconds", Kind.HISTOGRAM, "Duration of reconciliation passes over nodes."
)
BEHIND = Family(
    "cenote_agent_behind_seconds", Kind.GAUGE, "Age of the oldest change not yet applied to a node."
)
# These are named as in the client libraries of Prometheus.
PROCESS_CPU = Family("process_cpu_seconds_total", Kind.COUNTER, "CPU time of the service.")
PROCESS_RESIDENT = Family("process_resident_memory_bytes", Kind.GAUGE, "Resident memory of the service.")
PROCESS_VIRTUAL = Family("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory of the service.")
PROCESS_STARTED = Family("process_start_time_seconds", Kind.GAUGE, "When the service was started.")
PROCESS_FILES = Family("process_open_fds", Kind.GAUGE, "Open file descriptors.")
PROCESS_MOST_FILES = Family("process_max_fds", Kind.GAUGE, "Maximum open file descriptors.")

FAMILIES = (
    *(BUILD, REQUESTS, REQUEST_SECONDS, API_CERTIFICATE, CLUSTERS, CLUSTER_FAILING, STORE),
    *(PASSES, PASS_SECONDS, BEHIND, PROCESS_CPU, PROCESS_RESIDENT, PROCESS_VIRTUAL, PROCESS_STARTED),
    *(PROCESS_FILES, PROCESS_MOST_FILES),
)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The status of each cluster, the names of those that fail, and whether etcd answers."""

    statuses: Iterable[ClusterStatus]
    failing: Iterable[str]
    connected: bool


def collect(requests: Requests, state: ServiceState, service: ServiceNumbers | None) -> Page:
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
    for name in state.failing:
        page.add(CLUSTER_FAILING, 1, cluster=name)
    page.add(STORE, state.connected)
    if service is not None:
        _add_service(page, service)
    return page


def _add_service(page: Page, service: ServiceNumbers) -> None:
    page.add(API_CERTIFICATE, service.certificate_expires_at)
    for outcome, count in service.passes.outcomes.items():
        page.add(PASSES, count, outcome=outcome)
    page.add_histogram(PASS_SECONDS, service.passes.seconds)
    page.add(BEHIND, service.passes.behind())
    page.add(PROCESS_CPU, service.cpu_seconds)
    page.add(PROCESS_RESIDENT, service.resident_bytes)
    page.add(PROCESS_VIRTUAL, service.virtual_bytes)
    page.add(PROCESS_STARTED, service.started_at)
    page.add(PROCESS_FILES, service.open_files)
    page.add(PROCESS_MOST_FILES, service.max_open_files)
