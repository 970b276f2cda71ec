"""Claims on ports of this host, from the choice of a new cluster's ports until its servers listen on them.

The store keeps the clusters of one service apart.  Other services and programs on the machine are kept away
by sockets that are bound and do not listen: a second claim fails, and the servers, which bind with
SO_REUSEADDR, are not hindered.  A claim is on the addresses that the servers listen on: hosts of one machine
with addresses of their own may have the same port.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from cenote.errors import Unavailable

_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a machine without IPv6
_MARK = "cenote-port/"


class Claim:
    """Ports of addresses that nobody else can claim until it is closed."""

    def __init__(self, sockets: contextlib.ExitStack) -> None:
        self._sockets = sockets

    def close(self) -> None:
        self._sockets.close()


def claim(addresses: Iterable[str], ports: Iterable[int]) -> Claim | frozenset[int]:
    """Claim all of these ports, or none: then those are returned that are taken.

    Unavailable when no descriptor is left.
    """
    addresses, taken = tuple(addresses), set[int]()
    with contextlib.ExitStack() as stack:
        for port in ports:
            bound = _bound(addresses, port)
            if bound is None:
                taken.add(port)
            else:
                stack.enter_context(bound)
        if not taken:
            return Claim(stack.pop_all())
    return frozenset(taken)


def _bound(addresses: tuple[str, ...], port: int) -> contextlib.ExitStack | None:
    """Return what holds a port of each address; None if it is taken."""
    with contextlib.ExitStack() as stack:
        try:
            for one in _sockets(addresses, port):
                stack.enter_context(one)
        except OSError as error:
            if error.errno in _TAKEN:
                return None
            raise Unavailable(f"No port can be claimed for a new cluster: {error.strerror}.") from None
        return None if _is_marked(addresses, port) else stack.pop_all()


def _sockets(addresses: tuple[str, ...], port: int) -> Iterator[socket.socket]:
    """Yield the sockets of one claim; OSError if another program has the port.

    Each address has a socket with a name that only another claim has.  It tells a claim from the remains of
    closed connections (TIME_WAIT), which keep a port from being bound without SO_REUSEADDR for a minute.
    """
    for address in addresses:
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0{_MARK}{address}/{port}")
        except OSError:
            mark.close()
            raise
        yield mark
        claimed = _bound_socket(address, port)
        if claimed is not None:
            yield claimed


def _is_marked(addresses: tuple[str, ...], port: int) -> bool:
    """Return whether there is a claim on other addresses that are among these, or these among them.

    Each claim is marked before this is looked at, so of two at the same moment at least one sees the other.
    """
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
        _, found, name = line.partition(f" @{_MARK}")
        if not found:
            continue
        address, _, marked = name.rpartition("/")
        if marked == str(port) and address not in addresses and _overlap(address, addresses):
            return True
    return False


def _overlap(address: str, others: Iterable[str]) -> bool:
    try:
        return any(ip_address(one).is_unspecified for one in (address, *others))
    except ValueError:  # a claim of a version that marked the port alone, or of a name
        return True


def _bound_socket(address: str, port: int) -> socket.socket | None:
    """Return a socket that is bound and does not listen; None for an address that the machine has not."""
    try:
        claimed = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        if error.errno in _NO_FAMILY:
            return None
        raise
    try:
        if claimed.family == socket.AF_INET6:
            claimed.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            claimed.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claimed.bind((address, port))
        # Only now: the servers bind beside it.
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        claimed.close()
        if error.errno in _NO_FAMILY and ":" in address:
            return None
        raise
    return claimed
