"""Outbound connections to customer-supplied hosts, with SSRF protection.

A name is resolved here, each of its addresses is checked, and the connection is made to exactly the address
that was checked: changing the name's address in between (DNS rebinding) has no effect.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from ipaddress import ip_address
from typing import Any

from cenote.errors import CenoteError
from cenote.logs.destinations import Address, Networks, blocked_reason
from cenote.model.timing import DEFAULT, Timing

_DISCARD = 9  # any port will do: nothing is sent
_UNASSIGNED = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # RFC 5737 and 3849
_LOOKUPS_AT_ONCE = 2  # so that slow lookups do not take all threads
_UNHEARD_SECONDS = 30  # that a connection stays open to a peer that acknowledges nothing


# A peer without TLS waits for a message; a slow peer looks the same.
NO_TLS = "no answer to the TLS handshake; if this port is without TLS, use the TLS port, or turn TLS off"


class Unreachable(CenoteError):
    """The peer cannot be reached; the message says why and contains no secret."""


def is_own(address: Address) -> bool:
    """Return whether an address is one of this host."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # The kernel reaches an address of the host from that same address.  If a whole network is routed to the
    # host, only a bind detects that, and it proves nothing where the host may bind to any address
    # (ip_nonlocal_bind).
    return _source_address(family, str(address)) == address or (
        _can_bind(family, str(address)) and not _can_bind(family, _UNASSIGNED[family])
    )


def _source_address(family: int, address: str) -> Address | None:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _DISCARD))  # for UDP only a lookup in the routing table
        except OSError:
            return None
        return ip_address(probe.getsockname()[0].partition("%")[0])


def _can_bind(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


class OutboundPolicy:
    """Opens connections to permitted addresses (``logs/destinations.py``); ``allowed`` adds networks."""

    def __init__(self, allowed: Networks = (), timing: Timing = DEFAULT) -> None:
        self._allowed = tuple(allowed)
        self.timing = timing
        self._slots = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._lookups: set[asyncio.Task[list[Any]]] = set()  # their threads cannot be cancelled

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connected socket; Unreachable if no permitted address accepts the connection."""
        reasons = []
        for family, address in await self.permitted_addresses(host, port):
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_SECONDS * 1000)
                async with asyncio.timeout(self.timing.connect_timeout):
                    await asyncio.get_running_loop().sock_connect(connection, address)
            except (OSError, TimeoutError) as error:
                connection.close()
                reasons.append(reason_of(error))
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise Unreachable(f"cannot connect to {host} port {port}: {reasons[-1]}")

    async def permitted_addresses(self, host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        """Return the permitted addresses of a host, by address family."""
        try:
            lookup = await self._look_up(host, port)
            async with asyncio.timeout(self.timing.name_lookup_timeout):
                found = await asyncio.shield(lookup)
        except TimeoutError:
            raise Unreachable(f"looking up the address of {host} timed out") from None
        except (OSError, ValueError) as error:  # UnicodeError of a name's labels among them
            raise Unreachable(f"cannot find the address of {host}: {reason_of(error)}") from None
        permitted_addresses: list[tuple[int, tuple[str, int]]] = []
        refused = ""
        for family, _, _, _, address in found:
            text = str(address[0])
            reason = blocked_reason(ip_address(text.partition("%")[0]), self._allowed, is_own)
            if reason is None and family in (socket.AF_INET, socket.AF_INET6):
                permitted_addresses.append((family, (text, port)))
            else:
                refused = (
                    f"{host} resolves to {text}, {reason}, where no log may be sent; see --log-sink-allow"
                )
        if not permitted_addresses:
            raise Unreachable(refused or f"{host} has no address")
        return permitted_addresses

    async def _look_up(self, host: str, port: int) -> asyncio.Task[list[Any]]:
        """Start a lookup once a slot is free; it keeps the slot to its end, even if the caller gives up."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        lookup = loop.create_task(
            loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), name=f"the address of {host}"
        )
        self._lookups.add(lookup)
        lookup.add_done_callback(self._looked_up)
        return lookup

    def _looked_up(self, lookup: asyncio.Task[list[Any]]) -> None:
        self._lookups.discard(lookup)
        self._slots.release()
        if not lookup.cancelled():
            lookup.exception()  # marks it as retrieved: perhaps nobody waits for it any more


def reason_of(error: BaseException) -> str:
    """Return the reason of a connection error in words, with a remedy if one is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    if isinstance(error, ssl.SSLError):
        return _refused(error)
    if isinstance(error, TimeoutError):
        return "it timed out"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke" if isinstance(error, OSError | EOFError) else type(error).__name__


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    message = error.verify_message
    if "mismatch" in message.lower():
        return (
            f"its certificate is for another name ({message}); use a name from the certificate, or add this "
            "name to the certificate as a subject alternative name"
        )
    if "expired" in message or "not yet valid" in message:
        return f"its certificate is expired or not yet valid ({message})"
    return f"its certificate is not signed by a trusted CA ({message}); set 'ca' to the certificate of its CA"


def _refused(error: ssl.SSLError) -> str:
    message = (error.reason or "").replace("_", " ").lower()
    if "certificate required" in message or "handshake failure" in message:
        return f"it requires a client certificate, or another one ({message}); set 'cert' and 'key'"
    if "unknown ca" in message or "bad certificate" in message or "certificate unknown" in message:
        return f"it does not accept our client certificate ({message}); check 'cert' and 'key'"
    if any(sign in message for sign in ("wrong version", "record layer failure", "packet length", "http")):
        return f"it does not speak TLS on this port ({message}); use its TLS port, or turn TLS off"
    return f"TLS failed ({message or 'no reason given'})"
