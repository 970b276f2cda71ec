"""The metrics of the service itself: its API, its agent, its store, its process."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass

from cenote import __version__
from cenote.metrics.text import Family, Kind, Page
from cenote.model.records import ClusterStatus
from cenote.stats.counters import Requests
from cenote.stats.observer import ServiceNumbers

BUILD = Family("cenote_build_info", Kind.GAUGE, "What runs here; always 1.")
REQUESTS = Family("cenote_api_requests_total", Kind.COUNTER, "Requests, by operation and status.")
REQUEST_SECONDS = Family(
    "cenote_api_request_seconds", Kind.HISTOGRAM, "How long requests took, by operation."
)
API_CERTIFICATE = Family(
    "cenote_api_certificate_expiry_timestamp_seconds", Kind.GAUGE, "When the API's certificate expires."
)
CLUSTERS = Family("cenote_clusters", Kind.GAUGE, "Clusters, by status.")
CLUSTER_FAILING = Family(
    "cenote_agent_cluster_failing", Kind.GAUGE, "1 for each cluster of which something wanted cannot be done."
)
STORE = Family("cenote_store_connected", Kind.GAUGE, "Whether etcd answers, so that records are current.")
PASSES = Family("cenote_agent_passes_total", Kind.COUNTER, "Passes over nodes, by what they came to.")
PASS_SECONDS = Family("cenote_agent_pass_seconds", Kind.HISTOGRAM, "How long passes over nodes took.")
BEHIND = Family(
    "cenote_agent_behind_seconds", Kind.GAUGE, "How long the work on some node has not come to its end."
)
# Named as the client libraries of Prometheus name them.
PROCESS_CPU = Family("process_cpu_seconds_total", Kind.COUNTER, "Processor time of the service.")
PROCESS_RESIDENT = Family("process_resident_memory_bytes", Kind.GAUGE, "Memory of the service.")
PROCESS_VIRTUAL = Family("process_virtual_memory_bytes", Kind.GAUGE, "Address space of the service.")
PROCESS_STARTED = Family("process_start_time_seconds", Kind.GAUGE, "When the service was started.")
PROCESS_FILES = Family("process_open_fds", Kind.GAUGE, "File descriptors in use.")
PROCESS_MOST_FILES = Family("process_max_fds", Kind.GAUGE, "File descriptors that may be in use.")

FAMILIES = (
    *(BUILD, REQUESTS, REQUEST_SECONDS, API_CERTIFICATE, CLUSTERS, CLUSTER_FAILING, STORE),
    *(PASSES, PASS_SECONDS, BEHIND, PROCESS_CPU, PROCESS_RESIDENT, PROCESS_VIRTUAL, PROCESS_STARTED),
    *(PROCESS_FILES, PROCESS_MOST_FILES),
)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the records say: the status of each cluster, and the names of those that fail."""

    statuses: Iterable[ClusterStatus]
    failing: Iterable[str]
    connected: bool


def render(requests: Requests, told: ServiceState, service: ServiceNumbers | None) -> bytes:
    page = Page()
    page.add(BUILD, 1, version=__version__, python=platform.python_version())
    for (method, path, status), count in requests.answers.items():
        page.add(REQUESTS, count, method=method, path=path, status=str(status))
    for (method, path), histogram in requests.seconds.items():
        page.add_histogram(REQUEST_SECONDS, histogram, method=method, path=path)
    counts = dict.fromkeys(ClusterStatus, 0)
    for one in told.statuses:
        counts[one] += 1
    for one, count in counts.items():
        page.add(CLUSTERS, count, status=one)
    for name in told.failing:
        page.add(CLUSTER_FAILING, 1, cluster=name)
    page.add(STORE, told.connected)
    if service is not None:
        _add_service(page, service)
    return page.render()


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
    page.add(PROCESS_MOST_FILES, service.most_files)
