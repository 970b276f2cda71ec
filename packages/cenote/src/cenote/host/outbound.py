"""Connections to peers that a customer has named, and to no other place than may be named.

A name is looked up here, each address that it has is judged, and the connection is made to exactly that
address: whoever changes the name's address between two looks gains nothing by it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from ipaddress import ip_address
from typing import Any

from cenote.errors import CenoteError
from cenote.logs.destinations import Address, Networks, refusal

CONNECT_SECONDS = 10.0
LOOK_UP_SECONDS = 10.0
_DISCARD = 9  # any port does: nothing is sent
_NOBODYS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # for documentation, RFC 5737, 3849
_AT_ONCE = 2  # names that are looked up at the same time, so that a slow one does not take all threads
_UNHEARD_SECONDS = 30  # that a connection stays open to a peer that acknowledges nothing


# Of a peer that waits for a message it may also be that it is just slow.
NO_TLS = (
    "it does not answer the TLS handshake; if it does not speak TLS on this port, use its TLS port, or none"
)


class Unreachable(CenoteError):
    """There is no connection to the peer; the message says why, and holds no secret."""


def is_own(address: Address) -> bool:
    """Return whether an address is one of this host."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Where the kernel would reach an address from that very address it is its own.  What is routed to the
    # host as a whole network only shows by a bind, which says nothing where the host may bind to any address.
    return _reached_from(family, str(address)) == address or (
        _binds(family, str(address)) and not _binds(family, _NOBODYS[family])
    )


def _reached_from(family: int, address: str) -> Address | None:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _DISCARD))  # for UDP a look into the routing table, nothing more
        except OSError:
            return None
        return ip_address(probe.getsockname()[0].partition("%")[0])


def _binds(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


class OutboundPolicy:
    """Opens connections to where a log may be sent; ``allowed`` is that besides what always may."""

    def __init__(self, allowed: Networks = ()) -> None:
        self._allowed = tuple(allowed)
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._looks: set[asyncio.Task[list[Any]]] = set()  # a thread cannot be ended, only waited for

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connected socket; Unreachable when there is no way, or none that may be gone."""
        reasons = []
        for family, place in await self.places(host, port):
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_SECONDS * 1000)
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(connection, place)
            except (OSError, TimeoutError) as error:
                connection.close()
                reasons.append(reason_of(error))
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise Unreachable(f"cannot connect to {host} port {port}: {reasons[-1]}")

    async def places(self, host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        """Return the addresses of a host that may be connected to."""
        try:
            look = await self._look_up(host, port)
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await asyncio.shield(look)
        except TimeoutError:
            raise Unreachable(f"nobody tells the address of {host}") from None
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"cannot find the address of {host}: {reason_of(error)}") from None
        places: list[tuple[int, tuple[str, int]]] = []
        refused = ""
        for family, _, _, _, place in found:
            text = str(place[0])
            reason = refusal(ip_address(text.partition("%")[0]), self._allowed, is_own)
            if reason is None and family in (socket.AF_INET, socket.AF_INET6):
                places.append((family, (text, port)))
            else:
                refused = f"{host} leads to {text}, {reason}, where no log may be sent; see --log-sink-allow"
        if not places:
            raise Unreachable(refused or f"{host} has no address")
        return places

    async def _look_up(self, host: str, port: int) -> asyncio.Task[list[Any]]:
        """Begin to look a name up when it is its turn; the turn ends with that, whoever waits for it."""
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        look = loop.create_task(
            loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), name=f"the address of {host}"
        )
        self._looks.add(look)
        look.add_done_callback(self._looked)
        return look

    def _looked(self, look: asyncio.Task[list[Any]]) -> None:
        self._looks.discard(look)
        self._turn.release()
        if not look.cancelled():
            look.exception()  # nobody may wait for it any more, and that is no error


def reason_of(error: BaseException) -> str:
    """Return an error of a connection in words, with what mends it where that is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    if isinstance(error, ssl.SSLError):
        return _refused(error)
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke" if isinstance(error, OSError | EOFError) else type(error).__name__


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message
    if "mismatch" in said.lower():
        return (
            f"its certificate is for another name ({said}); name the peer as its certificate does, or give "
            "the certificate that name as a subject alternative name"
        )
    if "expired" in said or "not yet valid" in said:
        return f"its certificate is not valid now ({said})"
    return (
        f"its certificate is of nobody who is trusted here ({said}); give the certificate of its CA as 'ca'"
    )


def _refused(error: ssl.SSLError) -> str:
    said = (error.reason or "").replace("_", " ").lower()
    if "certificate required" in said or "handshake failure" in said:
        return f"it wants a client certificate, or another one ({said}); give it as 'cert' and 'key'"
    if "unknown ca" in said or "bad certificate" in said or "certificate unknown" in said:
        return f"it does not accept our client certificate ({said}); look at 'cert' and 'key'"
    if "wrong version" in said or "record layer failure" in said or "packet length" in said or "http" in said:
        return f"it does not speak TLS on this port ({said}); use its TLS port, or go without TLS"
    return f"TLS failed ({said or 'no reason given'})"
