"""The connections from the network to a node."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.disconnect import Client, Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model import firewall


async def look(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    if not context.cluster.firewall:
        return Seen()  # open to all addresses
    direct = await session.rows(
        SUPERUSER, "SELECT pid, host(client_addr) FROM pg_stat_activity WHERE client_addr IS NOT NULL"
    )
    pooled = await session.console("SHOW CLIENTS")
    return Seen(
        _clients(direct),
        # PgBouncer before 1.24 has no client ids and cannot end single clients.
        _clients([(row["id"], row["addr"]) for row in pooled if "id" in row]),
    )


def _clients(rows: list[tuple[int, str]]) -> tuple[Client, ...]:
    found = ((number, firewall.parse_address(text)) for number, text in rows)
    return tuple(Client(number, address) for number, address in found if address is not None)
