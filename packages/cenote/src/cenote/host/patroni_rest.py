"""Asks Patroni of a node of this host to restart its PostgreSQL, by Patroni's own API.

Patroni has commits not wait for a standby meanwhile, and keeps a writer's place; a server that ended in
another way would be one that has crashed.
"""

from __future__ import annotations

import asyncio
import json
import ssl

from cenote.errors import CenoteError
from cenote.host import processes, system
from cenote.model.changes import RestartByPatroni

ANSWER_SECONDS = 1.0  # a refusal is there by then; Patroni answers nothing else before the server is back
START_SECONDS = 30  # in which a writer has to be back, else another node takes over
_UNDER_WAY = "already in progress"


async def restart(change: RestartByPatroni) -> None:
    """Ask for a restart, and return as soon as it is under way, or over.

    CenoteError with what Patroni says if it refuses, or if it cannot be asked.
    """
    process = processes.find(change.program)
    if process is None:
        raise CenoteError("Patroni does not run")
    wish: dict[str, object] = {"role": "replica"}
    if change.writes:
        wish = {"role": "primary", "timeout": START_SECONDS}
    try:
        ports = await asyncio.to_thread(system.listening_sockets, process.pid)
        async with asyncio.timeout(ANSWER_SECONDS):
            status, text = await _post(change, min(ports), json.dumps(wish).encode())
    except TimeoutError:
        return
    except (OSError, ValueError, IndexError) as error:
        raise CenoteError(f"Patroni cannot be asked to restart PostgreSQL: {error}") from None
    if status != 200 and _UNDER_WAY not in text:
        raise CenoteError(f"Patroni does not restart PostgreSQL: {text[:200]!a}")


async def _post(change: RestartByPatroni, port: int, body: bytes) -> tuple[int, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Only the cluster's hosts have a certificate of its CA; those of the certificate need not be this one.
    context.check_hostname = False
    context.load_verify_locations(change.certificate)
    context.load_cert_chain(change.certificate)
    reader, writer = await asyncio.open_connection(change.address, port, ssl=context)
    try:
        writer.write(f"POST /restart HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.transport.abort()
    first, _, rest = answer.decode(errors="replace").partition("\r\n")
    return int(first.split()[1]), rest.partition("\r\n\r\n")[2]
