"""How far the move of a cluster is, and what it waits for, by what the hosts report.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cenote.model.fleet_records import Host
from cenote.model.records import Cluster, Move, MoveStage, Node
from cenote.model.status_records import NodeStatus, Standby
from cenote.rules.archiving import NO_BACKUPS_YET
from cenote.rules.host_states import DOWN_SECONDS

ORPHANED = "the host {host} was removed as lost; the copy that was made so far is kept"
UNCOPIED = "the host {host} was removed as lost, before its data was copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the steps of a move may take, in seconds."""

    copying: float = 48 * 3600.0  # from the beginning of the move, with all switches that were given up
    failing: float = 600.0  # since the target has failed first, without having followed meanwhile
    away: float = 300.0  # a host, before the move goes on without it
    switching: float = 15.0
    leaving: float = 3600.0  # for clients that go on using the old address
    first_pause: float = 5.0  # after a switch that was given up; it doubles each time
    longest_pause: float = 300.0


DEFAULT = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts as they are seen: all that are known, which are alive, for how long others are away."""

    known: Mapping[str, Host]
    alive: Collection[str]
    away: Mapping[str, float] = field(default_factory=dict)  # seconds
    drained: Collection[str] = frozenset()
    removed: Collection[str] = frozenset()
    now: datetime

    def name(self, id: str) -> str:
        host = self.known.get(id)
        return id if host is None else host.name

    def away_for(self, id: str) -> float:
        """Return for how many seconds a host is away, 0.0 while it is there."""
        return 0.0 if id in self.alive else self.away.get(id, DOWN_SECONDS)

    def is_down(self, id: str) -> bool:
        return self.away_for(id) >= DOWN_SECONDS

    def is_lost(self, node: Node) -> bool:
        """Return whether a node will not come back, since its host was removed."""
        return node.lost_at is not None or node.host in self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds that a move takes: ``waited`` in its stage, ``lasted`` in all.

    ``failing``: since its target has failed first, without having followed meanwhile; 0 if it does not fail.
    """

    waited: float = 0.0
    lasted: float = 0.0
    failing: float = 0.0


NO_TIME = Times()


@dataclass(frozen=True, slots=True)
class Look:
    """A move with what is known of both of its nodes."""

    cluster: Cluster
    move: Move
    revision: int
    source: Node
    target: Node
    at_source: NodeStatus | None
    at_target: NodeStatus | None
    times: Times

    @property
    def waited(self) -> float:
        """The seconds since its stage began."""
        return self.times.waited

    @property
    def standby(self) -> Standby | None:
        return None if self.at_target is None else self.at_target.standby

    @property
    def has_ended(self) -> bool:
        """Return whether the source has given up writing and the target has all that it wrote."""
        ended_at = 0 if self.at_source is None else self.at_source.ended_at
        return ended_at > 0 and self.standby is not None and self.standby.replayed >= ended_at


def node_of(cluster: Cluster, name: str) -> Node:
    return next(node for node in cluster.nodes if node.name == name)


def look_at(
    cluster: Cluster, revision: int, reports: Mapping[str, NodeStatus], times: Times = NO_TIME
) -> Look | None:
    move = cluster.move
    if move is None:
        return None
    return Look(
        cluster,
        move,
        revision,
        node_of(cluster, move.source),
        node_of(cluster, move.target),
        reports.get(move.source),
        reports.get(move.target),
        times,
    )


def serves(look: Look) -> bool:
    """Return whether the target takes writes, as its record says by now."""
    return look.at_target is not None and look.at_target.reached >= look.revision


def is_switching(look: Look, hosts: Hosts, limits: Limits = DEFAULT) -> bool:
    """Return whether clients may be held at this moment.

    Those of a cluster whose target does not come to serve wait for something else than time.
    """
    if look.move.stage is not MoveStage.LEAVING:
        return look.move.stage is MoveStage.SWITCHING
    return not serves(look) and look.target.host in hosts.alive and look.waited < limits.switching


def pause_after(tries: int, limits: Limits = DEFAULT) -> float:
    """Return the seconds between a switch that was given up and the next one."""
    return 0.0 if tries == 0 else min(limits.first_pause * 2.0 ** min(tries - 1, 32), limits.longest_pause)


def waits_for(look: Look, hosts: Hosts, limits: Limits = DEFAULT, *, may_switch: bool = True) -> str:
    """Return in words what a move waits for."""
    match look.move.stage:
        case MoveStage.COPYING:
            return copying_waits_for(look, hosts, limits, may_switch=may_switch)
        case MoveStage.SWITCHING:
            return switching_waits_for(look, hosts)
        case MoveStage.LEAVING:
            return _leaving_waits_for(look, hosts)


def orphaned(look: Look, hosts: Hosts) -> str:
    """Return what is said of a move whose source is lost."""
    words = UNCOPIED if look.standby is None else ORPHANED
    return words.format(host=hosts.name(look.source.host))


def copying_waits_for(look: Look, hosts: Hosts, limits: Limits, *, may_switch: bool) -> str:
    if hosts.is_lost(look.source):
        return orphaned(look, hosts)
    for node in (look.source, look.target):
        if node.host not in hosts.alive:
            return f"the agent of host {hosts.name(node.host)} does not answer"
    seen = look.at_target
    if seen is None:
        return f"host {hosts.name(look.target.host)} begins to copy the data"
    if look.standby is None or not look.standby.streaming:
        return seen.reason or "the data is being copied"
    if seen.failing:
        return seen.reason
    if seen.tried < look.revision:  # it may have to be restarted for what the source has got already
        return "the target carries out other changes first"
    source = look.at_source
    if source is None or source.ended_at or source.reached < look.revision or source.failing:
        return ("" if source is None else source.reason) or "the source carries out other changes first"
    if source.logical_slots:
        return f"the logical replication slots {', '.join(source.logical_slots[:3])} to be dropped"
    backups = source.backups
    if backups is not None and backups.unarchived not in ("", NO_BACKUPS_YET):
        return f"the WAL at host {hosts.name(look.source.host)} to be archived: {backups.unarchived}"
    if look.waited < pause_after(look.move.tries, limits):
        return (
            f"the next attempt to switch, after {look.move.hitch}" if look.move.hitch else "the next attempt"
        )
    return "" if may_switch else "the switch of another cluster"


def switching_waits_for(look: Look, hosts: Hosts) -> str:
    source, target = look.at_source, look.at_target
    if source is None or not source.ended_at:
        if look.source.host not in hosts.alive:
            return f"the agent of host {hosts.name(look.source.host)} does not answer"
        return (source.reason if source is not None else "") or "the source has not given up writing"
    if look.target.host not in hosts.alive:
        return f"the agent of host {hosts.name(look.target.host)} does not answer"
    reason = target.reason if target is not None else ""
    return reason or "the target has not replayed all that the source wrote"


def _leaving_waits_for(look: Look, hosts: Hosts) -> str:
    seen = look.at_target
    if hosts.is_lost(look.target):
        return f"the host {hosts.name(look.target.host)} was removed as lost, with the data"
    if look.target.host not in hosts.alive:
        return f"the agent of host {hosts.name(look.target.host)} does not answer"
    if seen is None or not serves(look):
        return (seen.reason if seen is not None else "") or "the target begins to take writes"
    source = look.at_source
    if source is None or not source.leads_on:
        return f"the pools of host {hosts.name(look.source.host)} to lead to the new one"
    return f"{source.clients} client{'' if source.clients == 1 else 's'} of the former address"
