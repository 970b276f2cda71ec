"""A read replica's server that follows its source: how far it is.

Its configuration is that of the part PostgreSQL.  With less than its source has of ``max_connections`` and
its like, it pauses its replay; the file has more by then, and so it is started anew, be there clients or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.standby import CLOSE, lacks_wal
from cenote.model.changes import Plan, Refuse, Stop, Wait
from cenote.model.status_records import Standby

# What a server says of its attempts to follow: that it is ahead of the other one.
_DIVERGED = "forked off current database system timeline"


@dataclass(frozen=True, slots=True)
class Seen:
    """``receiving``: WAL comes in; ``replayed`` is the position in it.

    ``behind`` are the bytes that it lacks of what its source had written, ``seconds`` how long ago what it
    replayed last was committed, None while that is not known.  ``paused``: it replays nothing.  ``said`` are
    its own last messages in its log while nothing comes in, which it writes at each attempt.
    ``copied_at`` is when its data had been copied, None if that is not known.
    """

    receiving: bool
    replayed: int = 0
    behind: int = 0
    seconds: float | None = None
    paused: bool = False
    said: str = ""
    copied_at: datetime | None = None

    @property
    def streaming(self) -> bool:
        return self.receiving and not self.paused and self.behind <= CLOSE


def plan(context: NodeContext, seen: Seen) -> Plan:
    source = "its source" if context.source is None else context.source.name
    if seen.paused:
        yield Stop(context.server)  # the part PostgreSQL starts it, with the values that it needs
        yield Wait("PostgreSQL has paused its replay, and is started anew with the settings that it needs")
    if _has_more(context, seen):
        yield Refuse(
            f"{source} went on from an earlier state than this replica has, as after a recovery from "
            "backups; promote it to keep what it has, or delete it and add another"
        )
    if not seen.receiving:
        yield Wait(_alone(context, source))
    elif not seen.streaming:
        yield Wait(f"catching up with {source}, {seen.behind // 2**20} MiB behind")


def _alone(context: NodeContext, source: str) -> str:
    """Return in words that it follows nobody at this moment."""
    version = "" if context.source is None else context.source.upgraded_to
    if not version:
        return f"not connected to {source}"
    return (
        f"{source} is being upgraded to PostgreSQL {version}; until that is over, reads see what it had "
        f"before, by PostgreSQL {context.version}"
    )


def _has_more(context: NodeContext, seen: Seen) -> bool:
    """Return whether it has what its source has lost and somebody may want back.

    That is only so of a copy from before the source went on from backups: what another one of several nodes
    had not received when it took over was never acknowledged.
    """
    if context.source is None or context.source.recovered_at is None:
        return False
    is_from_before = seen.copied_at is None or seen.copied_at < context.source.recovered_at
    return is_from_before and not seen.receiving and _DIVERGED in seen.said


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    standby = Standby(
        streaming=seen.streaming, replayed=seen.replayed, behind=seen.behind, seconds=seen.seconds
    )
    is_stuck = (lacks_wal(seen.said) or _DIVERGED in seen.said) and not _has_more(context, seen)
    return {"standby": standby, "wal_gone": not seen.receiving and is_stuck}
