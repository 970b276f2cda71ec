"""Where the pools of a cluster with several nodes lead: to the node that takes writes.

It comes before all that may wait, since clients wait for it.  While no node takes writes, or the new one does
not yet, clients are held: PgBouncer would refuse them with what a server says that is not ready.  They go on
as soon as the new node says itself that it takes writes.  All else of the pooler is left to its own part.

For a planned switch (``Cluster.switchover``) the pools are held before it, at a moment without transactions;
for an upgrade to another major version for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import pgbouncer
from cenote.engine.plan import loaded, pooler, switching
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.loaded import Loaded
from cenote.model import topology
from cenote.model.changes import HoldPools, Plan, Reload, Resume, Wait
from cenote.model.pauses import LEASE, LONGEST, MOVE, OURS, Moment, Pause
from cenote.model.records import Switchover, SwitchStage

FAILOVER = "another node takes over"
UPGRADE = "PostgreSQL is being upgraded"
SWITCH = "another node is to take over"
RESTART = "the node that takes writes is being restarted"
LONG = 0.3  # seconds after which a transaction is unlikely to end soon
PATIENCE = 0.8  # seconds in which pooled transactions have to end before a switch
LEFT = 0.1  # seconds in which queries to a node that does not take writes any more may end
UPGRADE_PATIENCE = 10.0  # the same before an upgrade; those that last longer end with the server
AT_ONCE = 0.1  # the same when the server is gone
SOON = 3.0  # seconds after which a pass does its other work, too, while no node takes writes
GIVEN_UP = LONGEST / 4  # seconds after which clients are not held any more for a node that does not come

_NOTHING = Loaded(None, None)


@dataclass(frozen=True, slots=True)
class Seen:
    """The files that a running PgBouncer has read; none while it is down.  ``unknown``: it has others, or
    does not answer, so what its clients do is not known.

    ``is_up``: the node that takes writes has a server, as far as this host can tell; ``leads``: it takes
    writes, asked only while that matters.  ``pools`` are those whose clients can be held; ``held``: all are,
    and before a switch none of their clients is in a transaction; ``hangs``: after another node took over,
    one still is.  ``oldest`` is the age of the oldest transaction in them, in seconds, asked before a switch.
    """

    files: Mapping[Path, bytes] = field(default_factory=dict, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    loaded: Loaded = _NOTHING
    at: Moment = field(default_factory=lambda: Moment("", 0.0))
    is_up: bool = True
    leads: bool = False
    pools: tuple[str, ...] = ()
    paused: bool = False
    held: bool = False
    hangs: bool = False
    pause: Pause | None = None
    oldest: float = 0.0
    unknown: bool = False


def plan(context: NodeContext, seen: Seen) -> Plan:
    if not seen.files or _is_anothers(seen):
        return
    if topology.holds_for_upgrade(context.cluster):
        yield from _for_upgrade(context, seen)
        return
    switch = context.cluster.switchover
    if switch is not None and _is_asked(context) and seen.is_up:
        yield from _for_switch(context, switch, seen)
        return
    if not pooler.knows_primary(context) or not seen.is_up:
        yield from _hold(context, seen, FAILOVER)
        if _is_soon_led(context, seen):  # the rest of the pass would only keep clients waiting then
            yield Wait("another node is about to take writes", at_once=True)
        return
    is_led = led(context, seen.files)[ini(context)] == seen.files[ini(context)]
    if is_led and not seen.paused and seen.pause is None:
        return
    if not seen.leads and not _is_given_up(seen):
        yield from _hold(context, seen, FAILOVER)
        yield Wait(f"{context.leader} does not take writes yet", often=True, at_once=True)
    if not is_led:
        is_planned = switch is not None and switch.target == context.leader
        may_hang = seen.hangs or not seen.held
        if seen.pools and may_hang and not is_planned and not _is_given_up(seen):
            # Queries that hang on a node that is frozen, or cut off, would keep the pools' connections.
            yield HoldPools(context.bouncer, FAILOVER, seen.pools, 2 * LEFT, anyway=True, cut=LEFT)
        yield from _lead(context, seen)
    if seen.paused or seen.pause is not None:
        yield Resume(context.bouncer)


def ini(context: NodeContext) -> Path:
    return context.cluster_paths.pooler / "pgbouncer.ini"


def led(context: NodeContext, files: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """Return the files of a pooler as they have to be for its pools to lead where they shall."""
    pools = [pool.name for pool in context.cluster.pools]
    text = pgbouncer.led_to(
        files[ini(context)].decode(),
        pools,
        pooler.primary(context),
        pooler.standby(context),
        context.cluster_paths.sockets,
    )
    return {**files, ini(context): text.encode()}


def needs_writer(context: NodeContext, seen: Seen) -> bool:
    """Return whether it matters whether the node that is named takes writes already."""
    if not seen.files or not pooler.knows_primary(context) or not seen.is_up:
        return False
    return seen.paused or seen.pause is not None or led(context, seen.files) != dict(seen.files)


def _lead(context: NodeContext, seen: Seen) -> Plan:
    contents = led(context, seen.files)
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(context.bouncer, contents, seen.files, seen.loaded, digest)
    yield Reload(context.bouncer, digest)


def _for_switch(context: NodeContext, switch: Switchover, seen: Seen) -> Plan:
    if is_held(seen):
        if switching.to_restart(context) is not None:
            return
        yield Wait(_held(switch), at_once=True)
    if switch.stage is SwitchStage.SWITCHING:  # Patroni has been asked, and may be about to end the server
        yield from _hold(context, seen, SWITCH)
        yield Wait(_held(switch), often=True)
    if seen.oldest > LONG and not switch.cut:
        if seen.paused:
            yield Resume(context.bouncer)
        yield Wait(f"busy: a transaction in a pool has been open for {seen.oldest:.0f} s", often=True)
    if seen.pools:
        why = RESTART if switch.in_place else SWITCH
        cut = LONG if switch.cut else None
        yield HoldPools(context.bouncer, why, seen.pools, PATIENCE, or_none=True, cut=cut)
        # It has held them all, and each look more would have their clients wait for it.
        yield Wait(_held(switch), at_once=True, now={"held_for": switch.attempt})
    yield Wait(_held(switch), often=True)


def _held(switch: Switchover) -> str:
    return "held, for a restart" if switch.in_place else f"held, for {switch.target} to take over"


def _for_upgrade(context: NodeContext, seen: Seen) -> Plan:
    """Hold the pools until the new server works, or the former one again; then the record says so."""
    if seen.pools and not is_held(seen):
        yield HoldPools(context.bouncer, UPGRADE, seen.pools, UPGRADE_PATIENCE, anyway=True)
    if NodeKind.UPGRADING not in context.kinds:  # that has more to do
        yield Wait(f"held, while {context.leader} is upgraded", often=True)


def _is_asked(context: NodeContext) -> bool:
    """Return whether pools are to be held for a switch."""
    switch = context.cluster.switchover
    if switch is None or switch.stage is SwitchStage.PREPARING:
        return False
    return context.leader == switch.source


def _hold(context: NodeContext, seen: Seen, why: str) -> Plan:
    if seen.pools and not is_held(seen) and not _is_given_up(seen):
        yield HoldPools(context.bouncer, why, seen.pools, AT_ONCE, anyway=True)


def _is_soon_led(context: NodeContext, seen: Seen) -> bool:
    """Return whether clients are held, and have not been for long, for a node that takes over."""
    switch = context.cluster.switchover
    if not seen.pools or (switch is not None and switch.in_place):  # whose server this pass starts
        return False
    return seen.pause is None or seen.pause.held_for(seen.at) < SOON


def is_held(seen: Seen) -> bool:
    """Return whether all pools are held by us, and the hold is being prolonged; also without any pool."""
    pause = seen.pause
    if not seen.pools:
        return not seen.unknown
    if not seen.held or pause is None or pause.owner != MOVE or pause.is_over(seen.at):
        return False
    return pause.until - seen.at.seconds > LEASE / 2


def _is_given_up(seen: Seen) -> bool:
    return seen.pause is not None and seen.pause.held_for(seen.at) > GIVEN_UP


def _is_anothers(seen: Seen) -> bool:
    pause = seen.pause
    return pause is not None and pause.owner not in OURS and not pause.is_over(seen.at)


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    """Tell the controller for which attempt at a switch the pools are held, and for how long they were."""
    switch, attempt = context.cluster.switchover, ""
    if switch is not None and switch.stage is not SwitchStage.PREPARING:
        attempt = switch.attempt  # before, those that are held still, for the attempt before, are let go
    mark = context.cluster.major_upgrade
    if mark is not None and topology.holds_for_upgrade(context.cluster):
        attempt = mark.attempt
    held_for = attempt if is_held(seen) else ""
    found: dict[str, object] = {"held_for": held_for, **_free(context, seen)}
    if not seen.files:
        return found
    if seen.leads and seen.pause is not None:  # this pass ends the pause
        held_ms = round(seen.pause.held_for(seen.at) * 1000)
        return found | {"held_ms": held_ms, "led_to": context.leader or ""}
    if not pooler.knows_primary(context) or _is_asked(context):
        return found | {"held_ms": 0, "led_to": ""}
    if seen.pause is None and not seen.paused and not needs_writer(context, seen):
        found["led_to"] = context.leader or ""
    return found


def _free(context: NodeContext, seen: Seen) -> dict[str, object]:
    """Tell for which attempt at a switch nobody would be held in vain, and what is in the way."""
    switch = context.cluster.switchover
    if switch is None or switch.stage is not SwitchStage.PREPARING or context.leader != switch.source:
        return {"free_for": "", "busy_seconds": 0}
    is_busy = seen.unknown or (seen.oldest > LONG and not switch.cut)
    return {"free_for": "" if is_busy else switch.attempt, "busy_seconds": _in_steps(seen.oldest)}


def _in_steps(seconds: float) -> int:
    """Return seconds rounded down, so that a switch that waits for long is not worth a report each second."""
    step = 1 if seconds < 5 else 5 if seconds < 60 else 60
    return int(seconds) // step * step


def is_needed(context: NodeContext) -> bool:
    return topology.has_standbys(context.cluster)
