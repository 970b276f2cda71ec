"""A server that gives up writing, so that another node can take over: behind held pools, and for good.

The record says when.  Nothing here starts it again: that is done by the part PostgreSQL, when the record says
that the switch was given up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import HoldPools, Plan, Resume, Sql, Stop, Wait
from cenote.model.pauses import LEASE, MOVE, Moment, Pause

WHY = "the cluster is moving to another host"
PATIENCE = 0.8  # seconds in which pooled transactions have to end
LONG = 0.3  # seconds after which one is unlikely to
RECENT = 5.0  # seconds since a checkpoint in which a shutdown has little left to write
CLOSE = 4 * 2**20  # bytes of WAL that the other node may lack when clients begin to wait for it

CHECKPOINT = (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout"))


@dataclass(frozen=True, slots=True)
class Follower:
    """The server of the other node: ``lag`` is what it has not replayed, in bytes."""

    streaming: bool
    lag: int


@dataclass(frozen=True, slots=True)
class Seen:
    """``running``: the server works.  ``ended_at``: where its WAL ends, 0 unless it was shut down cleanly.

    ``pools`` are those that PgBouncer has, none while it does not answer; ``sessions`` those of them whose
    clients keep a server until they leave.  ``paused``: one of them is paused; ``held``: all are.  ``oldest``
    is the age of the oldest transaction in the others, and ``checkpointed`` the time since a checkpoint has
    ended, in seconds.
    """

    running: bool
    at: Moment
    ended_at: int = 0
    pools: tuple[str, ...] = ()
    sessions: frozenset[str] = frozenset()
    paused: bool = False
    held: bool = False
    pause: Pause | None = None
    oldest: float = 0.0
    follower: Follower | None = None
    checkpointed: float = math.inf


def plan(context: NodeContext, seen: Seen) -> Plan:
    if NodeKind.LEFT in context.kinds:
        if seen.running:  # somebody has started it
            yield Stop(context.server)
        return
    name = "the other node" if context.peer is None else context.peer.node.name
    if not seen.running:
        if seen.pools and not is_held(seen):  # pools of sessions wait for nobody any more
            yield _hold(context, seen.pools)
        if not seen.ended_at:
            # It was killed, so the other node may lack what it had still to send.
            yield Wait("PostgreSQL has not ended cleanly; the switch has to be given up")
        yield Wait(f"ended, for {name} to take over", often=True)
    if seen.follower is None or not seen.follower.streaming:
        yield Wait(f"busy: {name} does not follow it", often=True)
    elif seen.follower.lag > CLOSE:
        yield Wait(f"busy: {name} is {seen.follower.lag // 2**20} MiB behind", often=True)
    if seen.oldest > LONG:
        yield Wait(f"busy: a transaction in a pool has been open for {seen.oldest:.0f} s", often=True)
    if seen.paused:  # by a process that was killed while it waited for transactions to end
        yield Resume(context.bouncer)
    if not 0 <= seen.checkpointed <= RECENT:
        yield Sql(SUPERUSER, "writing a checkpoint", CHECKPOINT, atomic=False)
        # It may have taken a minute: nobody is held before the record and the follower are looked at again.
        yield Wait("a checkpoint is written", often=True)
    if seen.pools:
        yield _hold(context, tuple(name for name in seen.pools if name not in seen.sessions), or_none=True)
    yield Stop(context.server)
    yield Wait(f"ending, for {name} to take over")


def _hold(context: NodeContext, pools: tuple[str, ...], *, or_none: bool = False) -> HoldPools:
    return HoldPools(context.bouncer, WHY, pools, PATIENCE, or_none)


def is_held(seen: Seen) -> bool:
    """Return whether all pools are held by us, and the hold is being prolonged."""
    pause = seen.pause
    if not seen.held or pause is None or pause.owner != MOVE or pause.is_over(seen.at):
        return False
    return pause.until - seen.at.seconds > LEASE / 2


def report(_context: NodeContext, seen: Seen) -> Mapping[str, object]:
    return {"ended_at": 0 if seen.running else seen.ended_at}
