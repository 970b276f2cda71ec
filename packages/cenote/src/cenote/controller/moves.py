"""The move of a one-node cluster to another host: what its record becomes next, by what the hosts report.

Pure.  COPYING → SWITCHING when the target follows closely and the source has nothing else to do; back, with a
pause that grows, when the source could not give up writing in time; → LEAVING only when the source's server
was shut down and the target has replayed all that it wrote, and never back from there.  So at no moment two
servers take writes: the writer is the source until LEAVING, then the target (``Move.writer``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from cenote.model.event_records import EventType, Note
from cenote.model.records import BackupPlan, Cluster, Move, MoveStage
from cenote.model.status_records import NodeStatus
from cenote.rules import backup_schedule, move_progress, repository_identity
from cenote.rules.move_progress import DEFAULT, NO_TIME, Hosts, Limits, Look, Times, look_at, serves
from cenote.rules.moves import backed_out

SLOT_LOST = (
    "the copy was too slow: changes that it has not received are no longer kept at the host of the cluster"
)
COPIES_OF_A_HOST = 2  # at a time, from it or to it, of those that a drain begins


@dataclass(frozen=True, slots=True)
class Step:
    """The record as it shall be, why, and the event that tells of it.

    ``unfit``: the id of a host that moves are better not made to for a while; "" for none.
    """

    cluster: Cluster
    reason: str
    event: Note | None = None
    unfit: str = ""


def step(
    cluster: Cluster,
    revision: int,
    reports: Mapping[str, NodeStatus],
    hosts: Hosts,
    *,
    times: Times = NO_TIME,
    may_switch: bool = True,
    limits: Limits = DEFAULT,
) -> Step | None:
    """Return what the record of a cluster becomes next, None while something is waited for.

    ``reports`` are on its nodes and on those that have left.  ``may_switch``: no other cluster's clients are
    held at this moment.
    """
    if cluster.deleted_at is not None:
        return None
    if (freed := _freed(cluster, reports, hosts)) is not None:
        return freed
    look = look_at(cluster, revision, reports, times)
    if look is None:
        return None
    match look.move.stage:
        case MoveStage.COPYING:
            return _while_copying(look, hosts, limits, may_switch=may_switch)
        case MoveStage.SWITCHING:
            return _while_switching(look, hosts, limits)
        case MoveStage.LEAVING:
            return _while_leaving(look, hosts, limits)


# -- The stages


def _while_copying(look: Look, hosts: Hosts, limits: Limits, *, may_switch: bool) -> Step | None:
    move, source, target = look.move, look.source.host, look.target.host
    if hosts.is_lost(look.source):  # its copy may be all that is left of the cluster
        return _hitched(look, move_progress.orphaned(look, hosts))
    if hosts.is_lost(look.target):
        return _given_up(look, hosts, f"the host {hosts.name(target)} was removed")
    if target in hosts.drained:
        return _given_up(look, hosts, f"the host {hosts.name(target)} is being drained")
    if hosts.away_for(target) >= limits.away:
        return _given_up(look, hosts, f"the host {hosts.name(target)} is down")
    was_away = _source_is_away(look, hosts)
    if hosts.is_down(source):
        return _hitched(look, was_away)
    if move.hitch == was_away and source in hosts.alive:
        return _given_up(look, hosts, f"the host {hosts.name(source)} was down")
    reason = move_progress.copying_waits_for(look, hosts, limits, may_switch=may_switch)
    seen = look.at_source
    if seen is not None and seen.slot_lost and seen.reached >= look.revision:
        return dataclasses.replace(_given_up(look, hosts, SLOT_LOST), unfit=target)
    if look.times.failing >= limits.failing:
        given_up = _given_up(look, hosts, reason or "it fails again and again")
        is_well = seen is not None and not seen.failing  # else the target may fail for want of its source
        return dataclasses.replace(given_up, unfit=target) if is_well else given_up
    if look.times.lasted >= limits.copying:
        return _given_up(look, hosts, reason or look.move.hitch or "it took too long")
    if reason:
        return None
    return Step(_in_stage(look, hosts, MoveStage.SWITCHING), "the target follows closely")


def _while_switching(look: Look, hosts: Hosts, limits: Limits) -> Step | None:
    if look.has_ended:
        left = replace(_in_stage(look, hosts, MoveStage.LEAVING), backups=_backups_after(look, hosts))
        return Step(left, "the target has all that the source wrote")
    if look.waited < limits.switching and not hosts.is_lost(look.target):
        return None
    hitch = move_progress.switching_waits_for(look, hosts)
    tried = replace(look.move, tries=look.move.tries + 1, hitch=hitch)
    return Step(_in_stage(_with_move(look, tried), hosts, MoveStage.COPYING), f"given up: {hitch}")


def _backups_after(look: Look, hosts: Hosts) -> BackupPlan | None:
    """Return the plan with what was lost at the source: the target's host knows nothing of it.

    In a repository of the target's own, what was written since the cluster was last there is missing.
    """
    plan = look.cluster.backups
    if plan is None:
        return None
    known = None if look.at_source is None else look.at_source.backups
    if known is None or known.impossible or not _share_repository(look, hosts):
        return replace(plan, gap_at=hosts.now)
    gap_at = backup_schedule.uncovered_gap(known)
    return plan if gap_at is None else replace(plan, gap_at=gap_at)


def _share_repository(look: Look, hosts: Hosts) -> bool:
    """Return whether both hosts keep backups in one place, as far as is known."""
    source, target = (hosts.known.get(node.host) for node in (look.source, look.target))
    if source is None or target is None:
        return True
    return repository_identity.is_shared(source, target)


def _while_leaving(look: Look, hosts: Hosts, limits: Limits) -> Step | None:
    if not serves(look):
        return None  # until its host is back: there is no way back to the source
    removed = look.at_source is not None and look.at_source.removed
    is_away = hosts.is_lost(look.source) or hosts.away_for(look.source.host) >= limits.away
    if not (removed or is_away or _has_no_clients(look) or look.waited >= limits.leaving):
        return None
    left = (*look.cluster.left, look.source)
    cluster = replace(look.cluster, nodes=(look.target,), move=None, left=left)
    return Step(cluster, "the move is over", _moved(look, hosts))


def _freed(cluster: Cluster, reports: Mapping[str, NodeStatus], hosts: Hosts) -> Step | None:
    """Take the nodes off ``left`` of which nothing is left any more."""
    gone = tuple(
        node
        for node in cluster.left
        if hosts.is_lost(node) or (node.name in reports and reports[node.name].removed)
    )
    if not gone:
        return None
    left = tuple(node for node in cluster.left if node not in gone)
    return Step(replace(cluster, left=left), f"{gone[0].name} is removed from its host")


def _has_no_clients(look: Look) -> bool:
    """Return whether the source leads nobody to the target any more, which it can tell once it leads them."""
    seen = look.at_source
    return seen is not None and seen.leads_on and seen.clients == 0


def _source_is_away(look: Look, hosts: Hosts) -> str:
    return f"the host {hosts.name(look.source.host)}, which the cluster is on, is down"


# -- The records that follow


def _with_move(look: Look, move: Move) -> Look:
    return dataclasses.replace(look, cluster=replace(look.cluster, move=move), move=move)


def _in_stage(look: Look, hosts: Hosts, stage: MoveStage) -> Cluster:
    hitch = look.move.hitch if stage is MoveStage.COPYING else ""
    since = hosts.now.replace(microsecond=0)
    return replace(look.cluster, move=replace(look.move, stage=stage, since=since, hitch=hitch))


def _hitched(look: Look, hitch: str) -> Step | None:
    if look.move.hitch == hitch:
        return None
    return Step(replace(look.cluster, move=replace(look.move, hitch=hitch)), hitch)


def _given_up(look: Look, hosts: Hosts, reason: str) -> Step:
    what = f"gave up the move to {hosts.name(look.target.host)}: {reason}"
    return Step(backed_out(look.cluster), what, Note(what=what, type=EventType.CLUSTER_UPDATE))


def _moved(look: Look, hosts: Hosts) -> Note:
    source, target = hosts.name(look.source.host), hosts.name(look.target.host)
    ports = [
        f"{words} {before} became {after}"
        for words, before, after in (
            ("the port", look.source.port, look.target.port),
            ("the port of the pools", look.source.pool_port, look.target.pool_port),
        )
        if before != after
    ]
    held_ms = 0 if look.at_source is None else look.at_source.held_ms
    held = [f"clients of its pools were held for {max(held_ms / 1000, 0.1):.1f} s"] if held_ms else []
    what = ", ".join([f"moved from {source} to {target}", *held, *ports])
    return Note(what=what, type=EventType.CLUSTER_UPDATE)


# -- Drains


def to_be_moved(clusters: Iterable[Cluster], hosts: Hosts) -> list[Cluster]:
    """Return the clusters on drained hosts of which no move has begun, the oldest first."""
    found = [
        cluster
        for cluster in clusters
        if cluster.deleted_at is None
        and cluster.move is None
        and len(cluster.nodes) == 1
        and cluster.nodes[0].host in hosts.drained
        and cluster.nodes[0].lost_at is None
    ]
    return sorted(found, key=lambda cluster: (cluster.created_at, cluster.id))


def has_turn(looks: Iterable[Look], hosts: Hosts, limits: Limits = DEFAULT) -> bool:
    """Return whether a cluster is being switched or about to be."""
    return any(
        move_progress.is_switching(look, hosts, limits)
        or (look.move.stage is MoveStage.COPYING and not move_progress.waits_for(look, hosts, limits))
        for look in looks
    )


def copies(looks: Iterable[Look]) -> dict[str, int]:
    """Return how many copies each host makes or is copied from; what follows already is none."""
    found: dict[str, int] = {}
    for look in looks:
        if look.move.stage is not MoveStage.COPYING:
            continue
        if look.standby is not None and look.standby.streaming:
            continue
        for host in (look.source.host, look.target.host):
            found[host] = found.get(host, 0) + 1
    return found
