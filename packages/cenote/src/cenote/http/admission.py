"""Caps of open connections: in total, and for each client's address.

A connection takes memory and a file descriptor before anybody has shown a token, so one that is too many is
closed as soon as it is accepted.  Clients of this machine have no cap of their own, and a reserve of the
total: whoever administers the service reaches it even when others have taken the rest.
"""

from __future__ import annotations

import resource
from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network

MOST = 4096  # with some 75 KiB for each
MOST_OF_AN_ADDRESS = 500
_RESERVE = 16  # one in so many of the total is for clients of this machine


def most_by_descriptors() -> int:
    """Return how many connections the limit of file descriptors allows, with a quarter left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft * 3 // 4)


class Admission:
    """Counts the open connections."""

    def __init__(self, most: int, most_of_an_address: int) -> None:
        """0 is no cap for an address."""
        self._most, self._most_of_an_address = most, most_of_an_address
        self._open: Counter[str] = Counter()
        self.total = self.refused = 0

    def enter(self, address: str) -> str | None:
        """Count a connection; return what ``leave`` wants, None if it is one too many."""
        source, is_here = _source(address)
        room = self._most if is_here else self._most - self._most // _RESERVE
        cap = 0 if is_here else self._most_of_an_address
        if self.total >= room or (cap and self._open[source] >= cap):
            self.refused += 1
            return None
        self._open[source] += 1
        self.total += 1
        return source

    def leave(self, source: str) -> None:
        self.total -= 1
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]


def _source(address: str) -> tuple[str, bool]:
    """Return what is counted as one address, and whether it is of this machine.

    Of IPv6 that is a network of 64 bits, which a single client has.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address, True  # a unix socket
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif not found.is_loopback:
            return str(ip_network((found, 64), strict=False)), False
    return str(found), found.is_loopback
