"""Rolling restarts: which node of a cluster with several is restarted next, and how.  Pure.

Standbys come first, one at a time, each when all follow closely; then the node that takes writes gives up to
one of them, by a planned switch, and is restarted on its way to being a standby.  A standby must have as much
as the writer of some settings (https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN),
and Patroni starts none with less.  So where the writer is to get less, it is restarted in its place, behind
held pools, and the standbys follow; but not before a standby has started with all else that it gets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cenote.model.parts import PartName
from cenote.model.records import Cluster, Node, RestartTurn
from cenote.model.status_records import NodeStatus, PendingRestart
from cenote.model.topology import has_standbys
from cenote.rules import switch_progress

SWITCH_SECONDS = 3600  # after which a switch for a restart is given up, and begun anew
NEW = timedelta(minutes=1)  # in which most servers are restarted and follow again


class How(StrEnum):
    STANDBY = "standby"
    SWITCH = "switch"  # the node gives up writing first
    IN_PLACE = "in_place"  # it writes on


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a cluster: its record's revision, the node that takes writes, and the reports.

    ``alive`` are the hosts whose agents answer.
    """

    revision: int
    leader: str | None
    reports: Mapping[str, NodeStatus]
    alive: Collection[str]


def due(cluster: Cluster, look: Look) -> dict[str, PendingRestart]:
    """Return the restarts that are due, by node."""
    reports = ((node.name, look.reports.get(node.name)) for node in _there(cluster))
    return {name: seen.restart for name, seen in reports if seen is not None and seen.restart is not None}


def chosen(cluster: Cluster, look: Look) -> tuple[str, How] | None:
    """Return the node that is to be restarted next, and how; None if none is."""
    found = due(cluster, look)
    writer = None if look.leader is None else found.get(look.leader)
    if look.leader is not None and writer is not None and _is_for_in_place(cluster, look, writer):
        return look.leader, How.IN_PLACE
    for name in found:
        if name != look.leader:
            return name, How.STANDBY
    return None if look.leader is None or writer is None else (look.leader, How.SWITCH)


def _is_for_in_place(cluster: Cluster, look: Look, writer: PendingRestart) -> bool:
    """Return whether the writer is to get less of something, and a standby was started with all else."""
    found = due(cluster, look)
    standbys = [found.get(node.name) for node in _there(cluster) if node.name != look.leader]
    return bool(writer.shrinks) and not writer.grows and any(_has_all_else(writer, one) for one in standbys)


def _has_all_else(writer: PendingRestart, standby: PendingRestart | None) -> bool:
    if standby is None:
        return True
    others = set(writer.settings) - set(writer.shrinks)
    return not others & set(standby.settings) and not (writer.update and standby.update)


def hindrance(cluster: Cluster, look: Look) -> str:
    """Return why no node may be restarted at this moment, "" if one may."""
    if look.leader is None:
        return "no node takes writes at this moment"
    writer = look.reports.get(look.leader)
    for node in _there(cluster):
        seen = look.reports.get(node.name)
        if node.host not in look.alive:
            return f"the host of {node.name} does not answer"
        if seen is None or not is_judged(seen, look.revision):
            return f"{node.name} is still at work on the latest change"
        if node.name != look.leader and (writer is None or not _follows(node.name, seen, writer)):
            return f"{node.name} does not follow {look.leader} closely"
    return ""


def is_over(cluster: Cluster, look: Look) -> bool:
    """Return whether the turn of a node is over: it has nothing left to be restarted for, and follows."""
    turn = cluster.restart_turn
    if turn is None or turn.node == look.leader or turn.node not in {node.name for node in _there(cluster)}:
        return True
    seen, writer = look.reports.get(turn.node), look.reports.get(look.leader or "")
    if seen is None or writer is None or not is_judged(seen, look.revision):
        return False
    return seen.restart is None and _follows(turn.node, seen, writer)


def is_new(turn: RestartTurn | None, now: datetime) -> bool:
    """Return whether a turn may be over at any moment; that of a node whose host is away lasts for long."""
    return turn is not None and abs(now - turn.since) < NEW


def is_judged(seen: NodeStatus, revision: int) -> bool:
    """Return whether a report says whether the node is to be restarted for this revision of the record."""
    part = PartName.RESTART
    return seen.tried >= revision and part not in seen.ahead and part not in seen.failed


def waits_for(cluster: Cluster, look: Look) -> str:
    """Return in words how far the restarts are, "" if none is due."""
    found, turn, switch = due(cluster, look), cluster.restart_turn, cluster.switchover
    if not has_standbys(cluster) or not (found or turn):
        return ""
    current, words = "", ""
    if turn is not None:
        seen = look.reports.get(turn.node)
        reason = "" if seen is None or not seen.reason else f" ({seen.reason})"
        current, words = turn.node, f"{turn.node} is being restarted{reason}"
    elif switch is not None and switch.reason:
        current, how = switch.source, "restarted in its place"
        if not switch.in_place:
            how = f"restarted once {switch.target} takes writes"
        progress = switch_progress.waits_for(cluster, look.leader, look.reports, look.alive)
        words = f"{switch.source} is {how} ({progress})"
    else:
        words = hindrance(cluster, look)
    others = [name for name in found if name != current]
    waiting = f"{' and '.join(others)} {'waits for its' if len(others) == 1 else 'wait for their'} turn"
    return "; ".join(filter(None, (words, waiting if others else "")))


def _there(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes if node.lost_at is None]


def _follows(name: str, seen: NodeStatus, writer: NodeStatus) -> bool:
    is_close = seen.standby is None or seen.standby.behind <= switch_progress.CLOSE
    return name in writer.followers and is_close
