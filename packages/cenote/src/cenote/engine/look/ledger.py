"""The ledger of what we created on a node's server."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.ledger import Ledger
from cenote.host.sql import Session

_NAMES = "SELECT kind, array_agg(name) FROM cenote.made WHERE kind <> 'grant' GROUP BY kind"


async def look(session: Session) -> Ledger:
    return Ledger({kind: frozenset(names) for kind, names in await session.rows(SUPERUSER, _NAMES)})
