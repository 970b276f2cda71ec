"""A server that followed another node and takes over, once the record says so.

It comes before the configuration, which may wait for other things: clients are held until it has happened.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.model.changes import Plan, Sql, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``follows``: the server runs as a standby."""

    follows: bool = False


def plan(context: NodeContext, seen: Seen) -> Plan:
    if seen.follows and NodeKind.WRITER in context.kinds:
        promote = SQL("SELECT pg_promote(wait => true, wait_seconds => 30)")
        yield Sql(SUPERUSER, "promoting the server", (promote,), atomic=False)
        yield Wait("the server is being promoted", often=True)
