"""What waits for a restart of a cluster's servers, and until when, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cenote.model import topology
from cenote.model.records import Cluster
from cenote.model.status_records import NodeStatus
from cenote.rules import rolling
from cenote.rules.restarts import Urgency
from cenote.rules.rolling import Look

if TYPE_CHECKING:
    from cenote.api.service import Service

_WAITS: dict[str, str] = {
    Urgency.NOW: "changes with a restart at once",
    Urgency.WINDOW: "changes with a restart in the maintenance window",
    Urgency.NEXT: "changes with the next restart, whatever that is for",
}
_LATER = "waits for a restart"


def updates(service: Service, cluster: Cluster, seen: NodeStatus) -> list[str]:
    """Describe what is done in the maintenance window; ``seen`` is of the node that takes writes."""
    outdated: set[str] = set()
    settings: set[str] = set()
    for report in _reports(service, cluster, seen).values():
        outdated.update(report.outdated)
        waiting = report.not_in_force.items()
        settings.update(name for name, urgency in waiting if urgency == Urgency.WINDOW)
    found = [f"Restart {name} with the program that is installed now" for name in sorted(outdated)]
    return found + ([f"Restart PostgreSQL for {', '.join(sorted(settings))}"] if settings else [])


def in_words(service: Service, cluster: Cluster, seen: NodeStatus) -> list[str]:
    """Describe the settings that wait for a restart, of several nodes with those that they wait on.

    ``seen`` is of the node that takes writes.
    """
    nodes: dict[tuple[str, str], list[str]] = {}
    for name, report in _reports(service, cluster, seen).items():
        due = () if report.restart is None else report.restart.settings
        for setting in (dict.fromkeys(due, str(Urgency.NOW)) | report.not_in_force).items():
            nodes.setdefault(setting, []).append(name)
    has_several = topology.has_standbys(cluster)
    lines = [
        f"{name} {_WAITS.get(urgency, _LATER)}" + (f" ({', '.join(waiting)})" if has_several else "")
        for (name, urgency), waiting in nodes.items()
    ]
    progress = _progress(service, cluster) if has_several else ""
    return [*lines, f"nodes are restarted one at a time: {progress}"] if progress else lines


def _progress(service: Service, cluster: Cluster) -> str:
    """Describe how far the restarts of several nodes are, "" if none is due."""
    stored, store = service.store.cluster(cluster.id), service.store
    if stored is None:
        return ""
    reports, alive = store.reports(cluster.id), store.presences().keys()
    return rolling.waits_for(cluster, Look(stored.revision, store.leader(cluster), reports, alive))


def _reports(service: Service, cluster: Cluster, seen: NodeStatus) -> dict[str, NodeStatus]:
    """Return the reports of the nodes by name, of a cluster without standbys the one that is shown."""
    if not topology.has_standbys(cluster):
        return {"": seen}
    reports = service.store.reports(cluster.id)
    return {
        node.name: reports[node.name]
        for node in cluster.nodes
        if node.lost_at is None and node.name in reports
    }
