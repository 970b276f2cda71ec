"""How far a server is that follows another one."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.standby import Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_STATE = """
SELECT coalesce(status = 'streaming', false), coalesce(replayed, 0)::bigint,
    coalesce(greatest(latest_end_lsn - '0/0'::pg_lsn - replayed, 0), 0)::bigint
FROM (SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed) AS own
LEFT JOIN pg_stat_wal_receiver ON true
"""


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    [(receiving, replayed, behind)] = await session.rows(SUPERUSER, _STATE)
    return Seen(receiving, replayed, behind)
