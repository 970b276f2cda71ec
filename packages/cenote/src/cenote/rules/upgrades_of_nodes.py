"""The upgrade of a cluster with several nodes to another major version, step by step.  Pure.

Patroni knows a cluster by the system identifier of its data, which an upgrade changes, and would start again
whatever is stopped.  So it ends first, on all nodes, and its keys go.  The node that takes writes is upgraded
as the only one of a cluster is; then Patroni takes it over, and the other nodes are made anew.  Until it is
decided they rest, with the data of the former version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from cenote.errors import Busy
from cenote.model.records import Cluster, MajorUpgrade, Node, UpgradeStep
from cenote.model.status_records import NodeStatus, UpgradeReport
from cenote.model.topology import Health, Member, has_standbys, rests, upgraded_alone
from cenote.model.upgrade_state import UpgradeStage
from cenote.rules import failover_settings, major_upgrades

PATIENCE = timedelta(seconds=120)  # in which Patroni and the other nodes have to end
HOLDING = timedelta(seconds=15)  # in which each pooler has to hold its pools; then it goes on without
_RESTING = "resting"
_ENDS = (UpgradeStage.STATISTICS, UpgradeStage.DONE, UpgradeStage.REFUSED)
_NEXT = {
    UpgradeStep.RELEASING: UpgradeStep.RESTING,
    UpgradeStep.RESTING: UpgradeStep.CHECKING,
    UpgradeStep.CHECKING: UpgradeStep.HOLDING,
    UpgradeStep.HOLDING: UpgradeStep.UPGRADING,
}


def check(members: Iterable[Member]) -> None:
    """Raise Busy unless all nodes of a cluster are as wanted."""
    for member in members:
        if member.health is not Health.HEALTHY and member.node.lost_at is None:
            why = f": {member.reason}" if member.reason else ""
            raise Busy(f"{member.node.name} is {member.health}{why}. Upgrade the cluster when it is healthy.")


def begun(cluster: Cluster, version: str, leader: str | None, now: datetime) -> Cluster:
    """Return the cluster with its upgrade begun; Busy while none of several nodes takes writes."""
    cluster = major_upgrades.begun(cluster, version, now)
    mark = cluster.major_upgrade
    if not has_standbys(cluster) or mark is None:
        return cluster
    if leader is None:
        raise Busy("No node takes writes at this moment; another one is about to.")
    mark = replace(mark, node=leader, step=UpgradeStep.RELEASING, since=now)
    return replace(cluster, major_upgrade=mark)


def needs_login(cluster: Cluster) -> bool:
    """Return whether Patroni runs nodes of a cluster, and needs a login to the store."""
    mark = cluster.major_upgrade
    return has_standbys(cluster) and not (upgraded_alone(cluster) and mark and _is_released(mark))


def are_resting(cluster: Cluster, reports: Mapping[str, NodeStatus]) -> bool:
    """Return whether no Patroni works, and all nodes but the one that is upgraded are stopped."""
    mark = cluster.major_upgrade
    if mark is None or not upgraded_alone(cluster) or mark.step is UpgradeStep.RELEASING:
        return False
    others = [node for node in cluster.nodes if rests(cluster, node) and node.lost_at is None]
    return all(_of(cluster, reports, node).stage == _RESTING for node in others)


def stepped(
    cluster: Cluster,
    revision: int,
    reports: Mapping[str, NodeStatus],
    holder: str | None,
    now: datetime,
    *,
    is_away: bool = False,
) -> Cluster:
    """Return the cluster a step further, the same if it is too early.

    ``revision`` is that of the record, ``holder`` the node whose Patroni has the leader key; ``is_away``: the
    host of the node that is upgraded does not answer.
    """
    mark = cluster.major_upgrade
    if mark is None or not mark.node:
        return cluster
    if mark.step is UpgradeStep.REJOINING and why_given_up(cluster, reports, holder, now):
        return major_upgrades.withdrawn(cluster)
    if mark.step is UpgradeStep.REJOINING:
        return replace(cluster, major_upgrade=None) if _is_joined(cluster, mark, reports, holder) else cluster
    if why_given_up(cluster, reports, holder, now, is_away=is_away):
        return _given_up(cluster, mark, now)
    report = _report_of(mark, reports)
    # Of one that was over before a copy of the store was made, nothing is left but the data.
    if report is not None and (report.done or report.stage in _ENDS):
        return _ended(cluster, mark, reports, now)
    if _is_over(cluster, mark, revision, reports, now):
        return replace(cluster, major_upgrade=replace(mark, step=_NEXT[mark.step], since=now))
    return cluster


def why_given_up(
    cluster: Cluster,
    reports: Mapping[str, NodeStatus],
    holder: str | None,
    now: datetime,
    *,
    is_away: bool = False,
) -> str:
    """Return why an upgrade is given up whose server was not stopped yet, or is lost, in words; else "".

    It is never too late once all others rest: what Patroni knew may be gone then, though the record has its
    login still.  Nor while nobody leads and that node's host ``is_away``: Patroni of the others may have been
    told to pause, which that node alone takes back, or its removal as lost.
    """
    mark = cluster.major_upgrade
    if mark is None or not mark.node:
        return ""
    node = next((node for node in cluster.nodes if node.name == mark.node), None)
    if node is None or node.lost_at is not None:
        if _goes_on(cluster, mark, reports, holder):
            return ""
        if cluster.failover_login and are_resting(cluster, reports):
            return ""  # what Patroni knew is about to go, with the login
        since = f"{mark.asked_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"the host of {mark.node} was removed; what was committed there since {since} may be missing"
    if mark.step not in (UpgradeStep.RELEASING, UpgradeStep.RESTING):
        return ""
    if holder not in (None, mark.node):
        return f"{holder} has taken over from {mark.node}"
    is_late = mark.since is not None and now - mark.since > PATIENCE
    if is_late and not are_resting(cluster, reports) and not (holder is None and is_away):
        return f"its nodes were not stopped within {PATIENCE.seconds} seconds"
    return ""


def is_lost(cluster: Cluster, holder: str | None) -> bool:
    """Return whether the node that is upgraded is lost, with its host, and no other one leads."""
    mark = cluster.major_upgrade
    if mark is None or not mark.node or holder not in (None, mark.node):
        return False
    return all(node.name != mark.node or node.lost_at is not None for node in cluster.nodes)


def candidates(cluster: Cluster) -> Sequence[str]:
    """Return the nodes of which one at least has all that was committed before an upgrade was begun.

    None where commits wait for no other node: then it may be that nobody has.
    """
    if not failover_settings.waits_for_standby(cluster):
        return ()
    mark = cluster.major_upgrade
    upgraded = "" if mark is None else mark.node
    return [node.name for node in cluster.nodes if node.lost_at is None and node.name != upgraded]


def has_new_version(cluster: Cluster) -> bool:
    """Return whether Patroni may have taken over the data of the new version."""
    mark = cluster.major_upgrade
    return mark is not None and mark.step is UpgradeStep.REJOINING and mark.source != cluster.version


def _goes_on(
    cluster: Cluster, mark: MajorUpgrade, reports: Mapping[str, NodeStatus], holder: str | None
) -> bool:
    """Return whether other nodes have the upgraded data, or may have them, after the loss of that node."""
    if mark.step is not UpgradeStep.REJOINING:
        return False
    others = [node for node in cluster.nodes if node.name != mark.node and node.lost_at is None]
    has_new = any(_of(cluster, reports, node).system == mark.system for node in others if mark.system)
    return holder is not None or has_new


def _is_over(
    cluster: Cluster, mark: MajorUpgrade, revision: int, reports: Mapping[str, NodeStatus], now: datetime
) -> bool:
    match mark.step:
        case UpgradeStep.RELEASING:
            return mark.node in reports and reports[mark.node].reached >= revision
        case UpgradeStep.RESTING:  # the login goes when they rest, and with it what Patroni knows
            return not cluster.failover_login and are_resting(cluster, reports)
        case UpgradeStep.CHECKING:
            report = _report_of(mark, reports)
            return report is not None and report.checked
        case UpgradeStep.HOLDING:
            is_late = mark.since is not None and now - mark.since > HOLDING
            return is_late or all(_holds(mark, reports, node) for node in _first_of_hosts(cluster))
        case _:
            return False


def _is_joined(
    cluster: Cluster, mark: MajorUpgrade, reports: Mapping[str, NodeStatus], holder: str | None
) -> bool:
    """Return whether Patroni leads, and no node has data that are to be removed."""
    living = [node for node in cluster.nodes if node.lost_at is None]
    systems = {_of(cluster, reports, node).system for node in living}
    return holder is not None and (not mark.system or systems == {mark.system})


def _ended(cluster: Cluster, mark: MajorUpgrade, reports: Mapping[str, NodeStatus], now: datetime) -> Cluster:
    """Return the cluster with the version of the data, whose nodes are about to come together again."""
    status, report = reports[mark.node], _report_of(mark, reports)
    if report is None or not report.system or not status.data_version:
        return cluster
    mark = replace(mark, step=UpgradeStep.REJOINING, since=now, system=report.system)
    return replace(cluster, version=status.data_version, major_upgrade=mark)


def _given_up(cluster: Cluster, mark: MajorUpgrade, now: datetime) -> Cluster:
    """Return the cluster as before; while Patroni has no login any more, with the node that it takes over."""
    kept = next((node for node in cluster.nodes if node.name == mark.node), None)
    if cluster.failover_login or kept is None or kept.lost_at is not None:
        return major_upgrades.withdrawn(cluster)
    mark = replace(mark, step=UpgradeStep.REJOINING, since=now)
    return replace(cluster, version=mark.source, major_upgrade=mark)


def _is_released(mark: MajorUpgrade) -> bool:
    return mark.step not in (UpgradeStep.RELEASING, UpgradeStep.RESTING)


def _holds(mark: MajorUpgrade, reports: Mapping[str, NodeStatus], node: Node) -> bool:
    return node.name in reports and reports[node.name].held_for == mark.attempt


def _first_of_hosts(cluster: Cluster) -> Iterable[Node]:
    """Return the node of each host that has its pooler."""
    living = [node for node in cluster.nodes if node.lost_at is None]
    return {node.host: node for node in reversed(living)}.values()


def _report_of(mark: MajorUpgrade, reports: Mapping[str, NodeStatus]) -> UpgradeReport | None:
    report = reports[mark.node].major_upgrade if mark.node in reports else None
    return report if report is not None and report.asked_at == mark.asked_at else None


def _of(cluster: Cluster, reports: Mapping[str, NodeStatus], node: Node) -> UpgradeReport:
    """Return what a node says of the upgrade; nothing while it has said nothing of this one."""
    mark = cluster.major_upgrade
    asked_at = datetime.min if mark is None else mark.asked_at
    report = reports[node.name].major_upgrade if node.name in reports else None
    return report if report is not None and report.asked_at == asked_at else UpgradeReport(asked_at=asked_at)
