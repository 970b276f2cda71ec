"""How far a server is that follows another one."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded
from cenote.engine.plan import postgresql
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.standby import Seen
from cenote.host import control_file
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_STATE = """
SELECT coalesce(status = 'streaming', false), coalesce(replayed, 0)::bigint,
    coalesce(greatest(latest_end_lsn - '0/0'::pg_lsn - replayed, 0), 0)::bigint,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END
FROM (SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed) AS own
LEFT JOIN pg_stat_wal_receiver ON true
"""


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    [(receiving, replayed, behind, paused)] = await session.rows(SUPERUSER, _STATE)
    pending = await inspector.pending_restart(context.server, loaded.look(context.server), session)
    raised = postgresql.raised(context, control_file.least_settings(context.paths.data))
    return Seen(receiving, replayed, behind, paused, pending, raised)
