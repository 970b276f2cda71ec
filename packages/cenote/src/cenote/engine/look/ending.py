"""What the end of a server depends on: the node that follows it, and what goes on in its pools."""

from __future__ import annotations

import math
from collections.abc import Collection

from cenote.conf.hba import SUPERUSER
from cenote.conf.pgbouncer import ADMIN_DATABASE
from cenote.engine.look import loaded
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.ending import Follower, Seen
from cenote.errors import CenoteError
from cenote.host import control_file, pauses, processes
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.records import PoolMode

_FOLLOWER = """
SELECT state = 'streaming', coalesce(pg_current_wal_lsn() - replay_lsn, 1e12)::bigint
FROM pg_stat_replication WHERE application_name = '{name}'
"""
_OLDEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
FROM pg_stat_activity WHERE pid IN ({pids})
"""

# The file is written when a checkpoint ends.  Its time has no fractions.
_CHECKPOINTED = """
SELECT extract(epoch FROM clock_timestamp() - modification)::float8 FROM pg_stat_file('global/pg_control')
"""


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = loaded.look(context.server)
    running = found.process is not None or bool(processes.below(context.paths.data, "postgres"))
    seen = Seen(running=running, at=pauses.now(), pause=pauses.read(context.cluster_paths.root))
    if NodeKind.LEFT in context.kinds:
        return seen
    pools = await pools_of(inspector, context, session)
    sessions = frozenset(name for name, row in pools.items() if row["pool_mode"] == PoolMode.SESSION)
    is_up = running and is_ready(context.server, found)
    return Seen(
        running=running,
        at=seen.at,
        ended_at=0 if running else control_file.shut_down_at(context.paths.data),
        pools=tuple(pools),
        sessions=sessions,
        paused=any(row["paused"] for row in pools.values()),
        held=all(row["paused"] for row in pools.values()),
        pause=seen.pause,
        oldest=await _oldest(pools.keys() - sessions, session) if is_up and pools else 0.0,
        follower=await _follower(context, session) if is_up else None,
        checkpointed=await checkpointed(session) if is_up else math.inf,
    )


async def pools_of(
    inspector: Inspector, context: NodeContext, session: Session
) -> dict[str, dict[str, object]]:
    """Return the pools that PgBouncer has by name; none while it does not answer."""
    process = loaded.look(context.bouncer).process
    if process is None or not inspector.listens(process, context.node.pool_port):
        return {}
    try:
        rows = await session.console("SHOW DATABASES")
    except CenoteError:
        return {}
    return {row["name"]: row for row in rows if row["name"] != ADMIN_DATABASE}


async def _oldest(pools: Collection[str], session: Session) -> float:
    servers = await session.console("SHOW SERVERS")
    pids = [int(row["remote_pid"]) for row in servers if row["database"] in pools and row["remote_pid"]]
    if not pids:
        return 0.0
    [(age,)] = await session.rows(SUPERUSER, _OLDEST.format(pids=", ".join(map(str, pids))))
    return float(age)


async def checkpointed(session: Session) -> float:
    [(seconds,)] = await session.rows(SUPERUSER, _CHECKPOINTED)
    return float(seconds)


async def _follower(context: NodeContext, session: Session) -> Follower | None:
    if context.peer is None:
        return None
    name = context.host.layout.node(context.cluster.id, context.peer.node.name).slot
    rows = await session.rows(SUPERUSER, _FOLLOWER.format(name=name))
    return Follower(*rows[0]) if rows else None
