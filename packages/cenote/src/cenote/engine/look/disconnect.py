"""The connections from the network to a node: to its server, and to its pooler."""

from __future__ import annotations

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.disconnect import OWNERLESS, Client, Seen
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model import firewall

_DIRECT = "SELECT pid, host(client_addr) FROM pg_stat_activity WHERE client_addr IS NOT NULL"
# Other nodes, and the poolers on their hosts, show a certificate of the cluster's CA; no client has one.
_DIRECT_BUT_NODES = (
    "SELECT pid, host(client_addr) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
    " WHERE client_addr IS NOT NULL AND client_dn IS NULL"
)


async def look_direct(_inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    ownerless = False
    if NodeKind.WRITER not in context.kinds:
        [(ownerless,)] = await session.rows(SUPERUSER, f"SELECT EXISTS (SELECT {OWNERLESS})")
    if not context.cluster.firewall:
        return Seen(ownerless=ownerless)  # open to all addresses
    direct = await session.rows(SUPERUSER, _DIRECT if context.is_alone else _DIRECT_BUT_NODES)
    return Seen(direct=_clients(direct), ownerless=ownerless)


async def look_pooled(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    process = loaded.look(context.bouncer).process
    if not context.cluster.firewall or process is None:
        return Seen()
    if not inspector.listens(process, context.node.pool_port):
        return Seen()  # it is starting, and has read the present rules
    pooled = await session.console("SHOW CLIENTS")
    # PgBouncer before 1.24 has no client ids and cannot end single clients.
    return Seen(pooled=_clients([(row["id"], row["addr"]) for row in pooled if "id" in row]))


def _clients(rows: list[tuple[int, str]]) -> tuple[Client, ...]:
    found = ((number, firewall.parse_address(text)) for number, text in rows)
    return tuple(Client(number, address) for number, address in found if address is not None)
