"""How far a node that Patroni runs is: what a standby lacks, and which standbys the writer waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.standby import CLOSE, lacks_wal
from cenote.model.changes import Plan, Remove, Wait, WriteFile
from cenote.model.status_records import Standby
from cenote.rules import failover_settings


@dataclass(frozen=True, slots=True)
class Seen:
    """``recovering``: it follows another server.  Of the ``followers`` of one that does not, those in
    ``quorum`` are waited for, one of them by each commit.

    ``replayed`` is the position in the WAL, ``behind`` the bytes that it lacks of what the other server had
    written, ``seconds`` how long ago what it replayed last was committed, None while nothing is known.
    ``has_former``: data that could not follow are still set aside; ``given_up``: its own are marked as such.
    ``said`` are the last messages
    of one that receives nothing, which it writes at each attempt, and ``full_disk`` says if its disk is full.
    """

    recovering: bool
    receiving: bool = False
    replayed: int = 0
    behind: int = 0
    seconds: float | None = None
    quorum: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()
    has_former: bool = False
    given_up: bool = False
    said: str = ""
    full_disk: str = ""

    @property
    def streaming(self) -> bool:
        return self.receiving and self.behind <= CLOSE


def plan(context: NodeContext, seen: Seen) -> Plan:
    if NodeKind.WRITER in context.kinds:
        if seen.recovering:
            yield Wait("PostgreSQL is about to take writes", often=True)
        else:
            yield from _of_writer(context, seen)
        return
    name = context.leader or "the node that takes writes"
    if not seen.recovering:
        yield Wait(f"{name} takes writes, and this node is about to follow it")
    elif not seen.receiving and context.leader and lacks_wal(seen.said):
        # Its slot had kept as much as it may.  Patroni would wait for ever.
        yield WriteFile(context.paths.cannot_follow, b"")
        yield Wait(f"{name} does not have the WAL any more that it needs; its data are copied anew")
    elif not seen.receiving:
        yield Wait(f"not connected to {name}" + (f": {seen.full_disk}" if seen.full_disk else ""))
    elif not seen.streaming:
        yield Wait(f"catching up with {name}, {seen.behind // 2**20} MiB behind")
    elif seen.has_former:
        yield Remove(context.paths.former_data)


def _of_writer(context: NodeContext, seen: Seen) -> Plan:
    if seen.given_up:  # the other nodes follow its data now, which the mark would have set aside later
        yield Remove(context.paths.cannot_follow)
    if seen.followers and not seen.quorum and failover_settings.waits_for_standby(context.cluster):
        yield Wait("commits do not wait for a standby, so a failover could lose some of them")


def report(_context: NodeContext, seen: Seen) -> Mapping[str, object]:
    standby = None
    if seen.recovering:
        standby = Standby(
            streaming=seen.streaming, replayed=seen.replayed, behind=seen.behind, seconds=seen.seconds
        )
    return {"standby": standby, "quorum": seen.quorum, "followers": seen.followers}
