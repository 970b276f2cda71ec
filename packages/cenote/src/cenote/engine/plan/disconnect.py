"""Ending connections from addresses that are no longer trusted sources, and those of users that are gone.

Both servers check their HBA rules at login only.  So every pass ends the open connections that the rules
would not admit; a login that was in progress when the rules changed is caught by the next pass.  A user that
is dropped loses its sessions on the node that takes writes before (``lock_out``); a standby replays the drop,
and ends no session for it.
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
    """``ownerless``: there are sessions of users that were dropped."""

    direct: tuple[Client, ...] = ()
    pooled: tuple[Client, ...] = ()
    ownerless: bool = False


OWNERLESS = """
FROM pg_stat_activity LEFT JOIN pg_roles ON pg_roles.oid = usesysid
WHERE backend_type = 'client backend' AND usesysid IS NOT NULL AND rolname IS NULL
"""


def plan(context: NodeContext, seen: Seen) -> Plan:
    allowed = context.networks
    direct = [client for client in seen.direct if not firewall.admits(allowed, client.address)]
    if direct:
        yield Sql(
            SUPERUSER,
            f"disconnecting {_some(direct)} outside the trusted sources",
            tuple(
                # Check the address again: the pid may have been reused.
                SQL(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid = {} AND client_addr = {}::inet"
                ).format(Literal(client.number), Literal(str(client.address)))
                for client in direct
            ),
        )
    if seen.ownerless:
        end = SQL("SELECT pg_terminate_backend(pid)") + SQL(OWNERLESS)
        yield Sql(SUPERUSER, "ending sessions of users that were dropped", (end,))
    pooled = [client for client in seen.pooled if not firewall.admits(allowed, client.address)]
    if pooled:
        yield Disconnect(tuple(client.number for client in pooled))


def _some(clients: list[Client]) -> str:
    return "1 client" if len(clients) == 1 else f"{len(clients)} clients"
