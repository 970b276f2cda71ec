"""Claims on ports of this host, from the choice of a new cluster's ports until its servers listen on them.

The store keeps the clusters of one service apart.  Other services and programs on the machine are kept away
by sockets that are bound and do not listen: a second claim fails, and the servers, which bind with
SO_REUSEADDR, are not hindered.  A claim is the API process's and ends with it; the next one claims again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Iterable, Iterator
from uuid import UUID

from cenote.errors import Unavailable
from cenote.model.records import Cluster
from cenote.store import Store
from cenote.store.encoding import NewerFormat

log = logging.getLogger(__name__)

_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # a machine without IPv6


class PortClaims:
    """The claims of one API process, by cluster."""

    def __init__(self, store: Store, host_id: str, addresses: Iterable[str]) -> None:
        self._store, self._host_id, self._addresses = store, host_id, tuple(addresses)
        self._held: dict[UUID, list[socket.socket]] = {}

    def claim(self, cluster_id: UUID, host_id: str, ports: Iterable[int]) -> frozenset[int]:
        """Claim ports for a cluster, all or none; return those that are taken.

        Ports of another host are that host's affair.  Unavailable when no descriptor is left.
        """
        if host_id != self._host_id:
            return frozenset()
        taken = set()
        with contextlib.ExitStack() as stack:
            held = []
            for port in ports:
                sockets = self._bound(port)
                if sockets is None:
                    taken.add(port)
                    continue
                held += sockets
                for one in sockets:
                    stack.callback(one.close)
            if taken:
                return frozenset(taken)
            stack.pop_all()
        self.release(cluster_id)
        self._held[cluster_id] = held
        return frozenset()

    def release(self, cluster_id: UUID) -> None:
        for one in self._held.pop(cluster_id, ()):
            one.close()

    async def run(self) -> None:
        """Hold the ports of each cluster until it was online once or is deleted."""
        with self._store.changes(reports=True) as changes:
            async for id in changes:
                self._look_at(id)

    def _look_at(self, id: UUID) -> None:
        try:
            stored = self._store.cluster(id)
        except NewerFormat:
            return
        if stored is None or not self._is_coming(stored.value):
            self.release(id)
        elif id not in self._held:  # its claims were a former process's
            ports = {port for node in stored.value.nodes if node.host == self._host_id for port in node.ports}
            for port in sorted(ports):  # what listens already cannot be claimed, and need not be
                with contextlib.suppress(Unavailable):
                    self._held.setdefault(id, []).extend(self._bound(port) or ())

    def _is_coming(self, cluster: Cluster) -> bool:
        if cluster.deleted_at is not None:
            return False
        ours = [node for node in cluster.nodes if node.host == self._host_id]
        statuses = [self._store.status(cluster.id, node.name) for node in ours]
        return any(status is None or not status.reached for status in statuses)

    def _bound(self, port: int) -> list[socket.socket] | None:
        """Return sockets bound to a port of each address; None if it is taken."""
        with contextlib.ExitStack() as stack:
            sockets = []
            try:
                for one in _claims(self._addresses, port):
                    stack.callback(one.close)
                    sockets.append(one)
            except OSError as error:
                if error.errno in _TAKEN:
                    return None
                raise Unavailable(f"No port can be claimed for a new cluster: {error.strerror}.") from None
            stack.pop_all()
            return sockets


def _claims(addresses: Iterable[str], port: int) -> Iterator[socket.socket]:
    """Yield the sockets of one claim; OSError if another program has the port.

    The first one has a name that only another claim has.  It tells a claim from the remains of closed
    connections (TIME_WAIT), which keep a port from being bound without SO_REUSEADDR for a minute.  The name
    is of the port alone: the other claim may be on all addresses, or on one of all.
    """
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0cenote-port/{port}")
    except OSError:
        mark.close()
        raise
    yield mark
    for address in addresses:
        claimed = _bound_socket(address, port)
        if claimed is not None:
            yield claimed


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
