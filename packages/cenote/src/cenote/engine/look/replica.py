"""How far a read replica is, as its server says."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import server_log
from cenote.engine.plan.base_backup import COPY
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.replica import Seen
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_STATE = """
SELECT coalesce(status = 'streaming', false), coalesce(replayed, 0)::bigint,
    coalesce(greatest(latest_end_lsn - '0/0'::pg_lsn - replayed, 0), 0)::bigint,
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END
FROM (SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed) AS own
LEFT JOIN pg_stat_wal_receiver ON true
"""


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    [(receiving, replayed, behind, seconds, paused)] = await session.rows(SUPERUSER, _STATE)
    said = ""
    if not receiving:
        seconds = None  # what its source has written meanwhile is not known
        said = server_log.own_messages(context.server.log)
    elif not behind:
        seconds = 0.0
    copied_at = files.modified_at(context.paths.data / COPY)
    return Seen(receiving, replayed, behind, seconds, paused, said, copied_at)
