"""How far a node that Patroni runs is, as its server says."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import server_log
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.replication import Seen
from cenote.host import files, system
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_STATE = """
SELECT coalesce(status = 'streaming', false), coalesce(replayed, 0)::bigint,
    coalesce(greatest(latest_end_lsn - '0/0'::pg_lsn - replayed, 0), 0)::bigint,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
FROM (SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed) AS own
LEFT JOIN pg_stat_wal_receiver ON true
"""
_FOLLOWERS = """
SELECT application_name, sync_state IN ('quorum', 'sync') FROM pg_stat_replication
WHERE state = 'streaming' ORDER BY application_name
"""


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    has_former = files.mode_of(context.paths.former_data) is not None
    [(recovering,)] = await session.rows(SUPERUSER, "SELECT pg_is_in_recovery()")
    if recovering:
        [(receiving, replayed, behind, seconds)] = await session.rows(SUPERUSER, _STATE)
        return Seen(
            True,
            receiving,
            replayed,
            behind,
            seconds if behind else 0.0,  # without anything to replay, what was replayed last says nothing
            has_former=has_former,
            said="" if receiving else server_log.own_messages(context.server.log),
            full_disk="" if receiving else system.full_disk(context.paths.data),
        )
    nodes = {node.name for node in context.cluster.nodes}
    rows = [(name, waits) for name, waits in await session.rows(SUPERUSER, _FOLLOWERS) if name in nodes]
    return Seen(
        False,
        quorum=tuple(name for name, waits in rows if waits),
        followers=tuple(name for name, _ in rows),
        given_up=files.mode_of_file(context.paths.cannot_follow) is not None,
    )
