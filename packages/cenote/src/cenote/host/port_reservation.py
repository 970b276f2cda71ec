"""A block of ports that only the servers of one service take, for as long as it lives.

The kernel chooses the first port.  Each is bound by a socket that never listens.  While its owner lives, the
kernel gives such a port to no program that asks for any free one, and to no outgoing connection.  A server of
ours can listen on it all the same, since PostgreSQL, PgBouncer and we set SO_REUSEADDR (socket(7)).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

from cenote.errors import Misconfigured

TRIES = 200  # a busy machine has gaps in its free ports


@contextlib.contextmanager
def reserved(address: str, count: int) -> Iterator[range]:
    """Reserve ``count`` consecutive ports of this address; Misconfigured if there are none."""
    for _ in range(TRIES):
        with contextlib.ExitStack() as stack:
            try:
                first = _port_of(stack.enter_context(_bound(address, 0)))
                held = [stack.enter_context(_bound(address, first + number)) for number in range(1, count)]
            except (OSError, OverflowError):  # one is taken, or there is no such port
                continue
            del held
            yield range(first, first + count)
            return
    raise Misconfigured(f"no {count} consecutive ports of {address} are free; choose others with --ports")


def _bound(address: str, port: int) -> socket.socket:
    """Return a socket with this port, which was free until then."""
    made = socket.socket(socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET)
    try:
        made.bind((address, port))
        # Only now: with it from the start, two services could reserve the same port.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except (OSError, OverflowError):
        made.close()
        raise
    return made


def _port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port
