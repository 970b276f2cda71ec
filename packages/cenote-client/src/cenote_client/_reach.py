"""Connects to a cluster once, to tell whether its server is there; in a sync and an asyncio version.

A firewall may keep this machine from a cluster that works, so only a connection that is refused, or closed
without an answer, says that there is none yet.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .types import Cluster

# SSLRequest, which a server answers with one byte before anybody logs in
# (https://www.postgresql.org/docs/current/protocol-message-formats.html).
_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
_SECONDS = 3.0


def address_of(cluster: Cluster) -> tuple[str, int] | None:
    """Return where a cluster of a Cenote service listens; None of any other service."""
    shown: Any = cluster
    connection = shown.get("connection")
    if "cenote" not in shown or not isinstance(connection, dict):
        return None
    host, port = connection.get("host"), connection.get("port")
    return (host, port) if isinstance(host, str) and host and isinstance(port, int) else None


def unusable(cluster: Cluster) -> str:
    """Return why a cluster that is online cannot be used, as its service sees it; "" if it can be."""
    shown: Any = cluster
    seen = shown.get("cenote")
    if not isinstance(seen, dict) or seen.get("health") not in ("starting", "down"):
        return ""
    return f"{seen['health']}: {seen.get('reason') or 'no reason is known'}"


async def async_refusal(host: str, port: int) -> str:
    import asyncio

    return await asyncio.to_thread(refusal, host, port)


def refusal(host: str, port: int) -> str:
    """Return why a server does not answer, "" if it does or if that cannot be told from here."""
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as connection:
            connection.sendall(_REQUEST)
            return "" if connection.recv(1) else f"{host}:{port} closes connections"
    except (ConnectionRefusedError, ConnectionResetError) as error:
        return f"{host}:{port}: {error.strerror or error}"
    except OSError:  # TimeoutError is one
        return ""
