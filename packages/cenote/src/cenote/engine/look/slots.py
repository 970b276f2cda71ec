"""The replication slots of a node's server, without those that end with their connection."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.slots import Seen, Slot
from cenote.host.inspector import Inspector
from cenote.host.sql import Session

_SLOTS = """
SELECT slot_name::text, slot_type = 'logical', coalesce(active_pid, 0), coalesce(wal_status = 'lost', false)
FROM pg_replication_slots WHERE NOT temporary ORDER BY slot_name
"""


async def look(_inspector: Inspector, _context: NodeContext, session: Session) -> Seen:
    return Seen(tuple(Slot(*row) for row in await session.rows(SUPERUSER, _SLOTS)))
