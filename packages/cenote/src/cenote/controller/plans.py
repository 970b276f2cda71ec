"""What the controller changes, as pure functions of the records and the reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec

from cenote.model.event_records import Event
from cenote.model.fleet_records import Host
from cenote.model.records import BackupPlan, Cluster, User
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys, writer_or_first
from cenote.rules import adoption, host_names, port_allocation, record_formats, storage
from cenote.store.audit_log import KEPT_FOR, MOST_OF_A_CLUSTER

ChangeOf: TypeAlias = Callable[[Cluster], Cluster]  # the same object when there is nothing to change


def adopted(
    cluster: Cluster,
    reports: Mapping[str, NodeStatus],
    new_user: Callable[[str], User],
    leader: str | None = None,
) -> Cluster:
    """Return the cluster with what its writer's server has and the record has not, else the same."""
    return adoption.adopted(cluster, reports.get(writer_or_first(cluster, leader).name), new_user)


def grown(cluster: Cluster, reports: Mapping[str, NodeStatus], leader: str | None = None) -> Cluster:
    """Return the cluster with more storage if its writer's use has reached the threshold, else the same."""
    report = reports.get(writer_or_first(cluster, leader).name)
    if cluster.deleted_at is not None or report is None or report.use is None:
        return cluster
    # A use that was measured before the last growth was carried out would grow it twice.
    if report.storage_mib != cluster.storage_mib:
        return cluster
    return storage.autoscaled(cluster, report.use)


def with_metrics_ports(cluster: Cluster, hosts: Mapping[str, Host], ports: Mapping[str, set[int]]) -> Cluster:
    """Return the cluster with a metrics port for each node without one, if its host has one that is free."""
    if cluster.deleted_at is not None or all(node.metrics_port for node in cluster.nodes):
        return cluster
    taken = {host: set(claimed) for host, claimed in ports.items()}
    nodes = []
    for node in cluster.nodes:
        port, host = node.metrics_port, hosts.get(node.host)
        if not port and host is not None:
            port = port_allocation.free_metrics_port(host, taken.setdefault(node.host, set())) or 0
            taken[node.host].add(port)
        nodes.append(msgspec.structs.replace(node, metrics_port=port))
    return cluster if tuple(nodes) == cluster.nodes else msgspec.structs.replace(cluster, nodes=tuple(nodes))


def with_server_names(cluster: Cluster, hosts: Mapping[str, Host], domains: Collection[str]) -> Cluster:
    """Return the cluster with the names that its certificate has to have, else the same.

    While a host of its nodes is not known, nothing is taken away.
    """
    if cluster.deleted_at is not None or any(node.host not in hosts for node in cluster.nodes):
        return cluster
    names = host_names.of_certificate(
        cluster.name, cluster.nodes, hosts, domains, standbys=has_standbys(cluster)
    )
    if set(names) == set(cluster.server_names):
        return cluster
    return msgspec.structs.replace(cluster, server_names=names)


def with_backups(cluster: Cluster, hosts: Mapping[str, Host], new_plan: Callable[[], BackupPlan]) -> Cluster:
    """Return the cluster with a plan for backups, if a host of its nodes keeps any and it has none yet.

    Not before the version of every host reads its record.
    """
    if cluster.deleted_at is not None or cluster.backups is not None:
        return cluster
    if cluster.replica_of is not None or cluster.rehearsal_of is not None:
        return cluster  # its data are in the backups of its source
    is_kept = any(hosts[node.host].repository for node in cluster.nodes if node.host in hosts)
    if not is_kept or not record_formats.are_read(hosts.values()):
        return cluster
    return msgspec.structs.replace(cluster, backups=new_plan())


def events_of(cluster: Cluster, reports: Iterable[NodeStatus], now: datetime) -> list[Event]:
    """Return the events that agents have noted in their reports."""
    return [
        Event(id=note.id, at=note.at, note=note.note, cluster_id=cluster.id, cluster_name=cluster.name)
        for report in reports
        for note in report.notes
        if now - note.at < KEPT_FOR
    ]


def unwritten(events: Iterable[Event], written: Collection[str]) -> list[Event]:
    """Return the events that are not written yet, without those that were written and pruned since."""
    oldest = min(written) if len(written) >= MOST_OF_A_CLUSTER else ""
    return [event for event in events if event.id not in written and event.id > oldest]
