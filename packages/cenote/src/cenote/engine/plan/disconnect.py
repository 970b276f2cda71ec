"""Connections that were opened before a trusted source was taken away.

Both servers ask their rules when a client logs in, and never again.  So whoever is connected and may not be
is disconnected here, on every pass: a login that was under way when the rules changed is caught by the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from psycopg.sql import SQL, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model import firewall
from cenote.model.changes import Disconnect, Plan, Sql


@dataclass(frozen=True, slots=True)
class Client:
    """A connection from the network: ``number`` is the pid of its backend, or PgBouncer's id of it."""

    number: int
    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Seen:
    direct: tuple[Client, ...] = ()
    pooled: tuple[Client, ...] = ()


def plan(context: NodeContext, seen: Seen) -> Plan:
    allowed = firewall.networks(context.cluster.firewall)
    direct = [client for client in seen.direct if not firewall.admits(allowed, client.address)]
    if direct:
        yield Sql(
            SUPERUSER,
            f"disconnecting {_some(direct)} that trusted sources leave out",
            tuple(
                # The address again: the pid may be somebody else's by then.
                SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid = {} AND client_addr = {}::inet"
                ).format(Literal(client.number), Literal(str(client.address)))
                for client in direct
            ),
        )
    pooled = [client for client in seen.pooled if not firewall.admits(allowed, client.address)]
    if pooled:
        yield Disconnect(tuple(client.number for client in pooled))


def _some(clients: list[Client]) -> str:
    return "1 client" if len(clients) == 1 else f"{len(clients)} clients"
