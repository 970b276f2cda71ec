"""Ports that nobody else takes while a test runs, also when another copy of the tests runs beside it."""

from __future__ import annotations

import os
import random
import socket

# Below the kernel's range for outgoing connections, which could take a port at any moment.
_FIRST, _LAST = 10_000, 32_000


def free_range(count: int) -> int:
    """Return the first of ``count`` ports in a row, an even one, on which nobody listens."""
    chance = random.Random(os.urandom(8))
    while True:
        first = chance.randrange(_FIRST, _LAST - count, 2)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
