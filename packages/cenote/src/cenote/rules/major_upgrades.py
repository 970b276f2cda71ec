"""Upgrades of clusters to another major version of PostgreSQL: what is refused, and how they end.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from cenote.errors import Busy, Invalid
from cenote.model.event_records import EventType, Note
from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, ClusterStatus, MajorUpgrade
from cenote.model.status_records import NodeStatus
from cenote.model.topology import has_standbys, writer, writer_or_first
from cenote.rules import online_migrations, replacements
from cenote.rules.names import quoted


def version(cluster: Cluster, requested: str, hosts: Sequence[Host]) -> str:
    """Return the version to upgrade to; Invalid for one that is not newer, or not installed on its hosts."""
    if not (requested.isascii() and requested.isdigit() and len(requested) < 4):
        raise Invalid(f"version: {quoted(requested)} is no major version of PostgreSQL, such as 17.")
    if requested == cluster.version:
        raise Invalid(f"version: the cluster has PostgreSQL {requested} already.")
    if int(requested) < int(cluster.version):
        raise Invalid(
            f"version: the cluster has PostgreSQL {cluster.version}, and no way leads back to {requested}."
        )
    for host in hosts:
        if requested not in host.versions:
            raise Invalid(
                f"version: PostgreSQL {requested} is not installed on {host.name}, which has "
                f"{', '.join(host.versions) or 'none'}. Install it there and restart Cenote."
            )
    return requested


def check(cluster: Cluster, seen: NodeStatus | None, status: ClusterStatus) -> None:
    """Raise Busy for a cluster that cannot be upgraded now, Invalid for one that cannot as it is."""
    online_migrations.check_none(cluster)
    if cluster.major_upgrade is not None:
        raise Busy(f"The cluster is being upgraded to PostgreSQL {cluster.version} already.")
    if cluster.move is not None:
        raise Busy("The cluster is being moved. Wait until that is over, or cancel it.")
    if cluster.restart_turn is not None:
        raise Busy("Its nodes are being restarted one after the other. Wait until that is over.")
    if cluster.switchover is not None:
        raise Busy("Another node is about to take writes. Wait until that is over, or cancel it.")
    replacements.check_none(cluster)
    if cluster.restoration is not None:
        raise Busy("The cluster's data are being restored. Wait until that is over.")
    if cluster.undeletion is not None:
        raise Busy("The cluster's data are being brought back. Wait until that is over.")
    if status is not ClusterStatus.ONLINE or seen is None:
        raise Busy(f"update cluster cannot be performed. Reason: cluster is {status}")


def check_none(cluster: Cluster) -> None:
    """Raise Busy while a cluster is being upgraded."""
    if cluster.major_upgrade is not None:
        raise Busy(f"The cluster is being upgraded to PostgreSQL {cluster.version}. Wait until that is over.")


def refuse(version: str, problems: Sequence[str]) -> None:
    """Raise Invalid that names all that is in the way, if anything is."""
    if problems:
        raise Invalid(f"The cluster cannot be upgraded to PostgreSQL {version}: {'; '.join(problems)}.")


def begun(cluster: Cluster, version: str, now: datetime) -> Cluster:
    """Return the cluster with its upgrade begun."""
    mark = MajorUpgrade(source=cluster.version, asked_at=now)
    return replace(cluster, version=version, major_upgrade=mark)


def withdrawn(cluster: Cluster) -> Cluster:
    """Return the cluster without its upgrade, with the version before, if one was begun."""
    mark = cluster.major_upgrade
    return cluster if mark is None else replace(cluster, version=mark.source, major_upgrade=None)


def ended(cluster: Cluster, reports: Mapping[str, NodeStatus], leader: str | None = None) -> Cluster:
    """Return the cluster without its upgrade, if that is done or refused, else the same.

    A record without one that names another version than the data have, such as one from an older copy of
    the store, or of a cluster whose data come from backups of before an upgrade, follows the data.  Of
    several nodes they are those of the ``leader``, and an upgrade of them ends otherwise.
    """
    mark, node = cluster.major_upgrade, writer(cluster, leader)
    if node is None or cluster.move is not None or cluster.restoration is not None:
        return cluster
    if mark is not None and has_standbys(cluster):
        return cluster
    report = reports.get(node.name)
    if report is None or not report.data_version or cluster.deleted_at is not None:
        return cluster
    if mark is None:
        if report.data_version == cluster.version or not report.reached:
            return cluster
        return replace(cluster, version=report.data_version)
    upgrade = report.major_upgrade
    if upgrade is None or upgrade.asked_at != mark.asked_at or not (upgrade.done or upgrade.refused):
        return cluster
    return replace(cluster, version=report.data_version, major_upgrade=None)


def note_of_end(cluster: Cluster, reports: Mapping[str, NodeStatus], given_up: str = "") -> Note:
    """Return what the event of an upgrade's end says; ``cluster`` is the one before.

    ``given_up``: why it was before the data were worked on.
    """
    mark = cluster.major_upgrade
    report = reports.get(mark.node if mark is not None and mark.node else writer_or_first(cluster).name)
    upgrade = None if report is None else report.major_upgrade
    if given_up:
        what = f"was not upgraded to PostgreSQL {cluster.version}: {given_up}"
    elif cluster.major_upgrade is None or upgrade is None:
        what = "took over the version of PostgreSQL that its data have"
    elif upgrade.refused:
        what = f"was not upgraded to PostgreSQL {cluster.version}: {upgrade.refused}"
    else:
        held = f", with {upgrade.held_ms / 1000:.1f} s without a server" if upgrade.held_ms else ""
        what = f"was upgraded from PostgreSQL {cluster.major_upgrade.source} to {cluster.version}{held}"
        if upgrade.to_reindex:
            names = ", ".join(upgrade.to_reindex)
            what += f"; these collations may sort otherwise now: {names}. REINDEX the indexes that use them"
    return Note(what=what, type=EventType.CLUSTER_UPDATE)
