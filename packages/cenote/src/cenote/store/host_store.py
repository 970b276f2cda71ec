"""The store as an agent sees it: what it may read, and the records below its own host's id that it writes.

It never writes a cluster's record or an event: what it does by itself stands as notes in its reports.  Each
folder has a watch of its own, since etcd refuses a watch that is wider than the agent's rights.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from cenote.errors import NotFound, Unavailable
from cenote.model.records import CertificateRequest, Host, NodeStatus, Note, Presence, ReportedNote
from cenote.store import etcd_messages
from cenote.store.audit_log import new_id
from cenote.store.cache import WatchCache
from cenote.store.client import EtcdClient
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.lease import LeasedKey
from cenote.store.reader import Reader
from cenote.store.tables import Tables
from cenote.store.writer import Writer

log = logging.getLogger(__name__)

PRESENCE_SECONDS = 10
MOST_NOTES = 10


class HostStore(Reader):
    """The store of one host's agent.  ``run`` names this process in reports and in the presence."""

    def __init__(
        self,
        client: EtcdClient,
        host_id: str,
        directory: str = "",
        prefix: str = "/cenote/",
        presence_seconds: int = PRESENCE_SECONDS,
    ) -> None:
        """``directory`` tells the data directory from a copy of it; see ``Presence``.

        The presence expires ``presence_seconds`` after this process dies.
        """
        self._client, self._host_id, self._directory = client, host_id, directory
        self.run = uuid4().hex
        self._keys = Keys(prefix)
        self._tables = Tables(self._keys)
        self._writer = Writer(client, self._keys, host_id)
        self._begin()
        folders = (
            self._keys.clusters,
            self._keys.certificates_of(host_id),
            f"{self._keys.port(host_id, 0).rpartition('/')[0]}/",
        )
        self._caches = [WatchCache(client, folder, self._tables, self._notify) for folder in folders]
        self._cache = self._caches[0]
        self._reported: dict[tuple[UUID, str], NodeStatus] = {}
        self._noted: dict[tuple[UUID, str], tuple[ReportedNote, ...]] = {}
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._announced: Host | None = None
        self._presence = LeasedKey(client, self._writer, self._keys.presence(host_id), presence_seconds)

    @property
    def host_id(self) -> str:
        return self._host_id

    async def open(self) -> None:
        """Read what there is and start the watches; Unavailable when etcd does not answer."""
        for cache in self._caches:
            await cache.open()
        async for page in self._client.pages(self._keys.reports_of(self._host_id), 500):
            for found in page.found:
                self._tables.put(found.key.decode(), found.value, found.mod_revision)
        for (_, cluster_id, node), report in self._tables.reports.items():
            self._noted[cluster_id, node] = report.notes

    async def close(self) -> None:
        """Stop the watches and withdraw the presence.  The client stays open."""
        await self._presence.withdraw()
        for cache in self._caches:
            await cache.close()
        self._end()

    def status(self, cluster_id: UUID, node_name: str) -> NodeStatus | None:
        """The last report on a node of this host, by this process or a former one."""
        return self._tables.reports.get((self._host_id, cluster_id, node_name))

    def has_reported(self, cluster_id: UUID, node_name: str) -> bool:
        """Whether this process has reported on a node."""
        return (cluster_id, node_name) in self._reported

    async def report(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        """Write the report on a node, unless only ``at`` differs or the cluster is forgotten."""
        node = cluster_id, node_name
        async with self._locks.setdefault(cluster_id, asyncio.Lock()):
            status = msgspec.structs.replace(status, run=self.run, notes=self._noted.get(node, ()))
            last = self._reported.get(node)
            if last is not None and msgspec.structs.replace(last, at=status.at) == status:
                return
            key = self._keys.report(self._host_id, cluster_id, node_name)
            conditions = [etcd_messages.exists(self._keys.cluster(cluster_id))]
            outcome = await self._writer.write(conditions, [etcd_messages.put(key, encode(status))])
            if outcome.revision:
                self._reported[node] = status
                self._tables.reports[self._host_id, cluster_id, node_name] = status

    async def remember(self, cluster_id: UUID, node_name: str, note: Note) -> None:
        """Add a note to the report on a node: the change becomes an event."""
        at = datetime.now(UTC)
        reported = ReportedNote(id=new_id(at), at=at.replace(microsecond=0), note=note)
        node = cluster_id, node_name
        before = self._noted.get(node, ())
        self._noted[node] = (*before, reported)[-MOST_NOTES:]
        try:
            known = self.status(cluster_id, node_name) or NodeStatus(reached=0, at=at)
            await self.report(cluster_id, node_name, known)
        except Unavailable:
            self._noted[node] = before
            raise

    def forget(self, cluster_id: UUID) -> None:
        """Drop what is remembered of a cluster that is gone."""
        self._locks.pop(cluster_id, None)
        for node in [node for node in (*self._reported, *self._noted) if node[0] == cluster_id]:
            self._reported.pop(node, None)
            self._noted.pop(node, None)
            self._tables.reports.pop((self._host_id, *node), None)

    async def announce(self, host: Host, *, unseen: Iterable[str] = (), stalled: Iterable[str] = ()) -> None:
        """Write the host's record when it has changed, and the presence, which expires with this process."""
        if host != self._announced:
            seen = msgspec.structs.replace(host, seen_at=datetime.now(UTC).replace(microsecond=0))
            await self._writer.write([], [etcd_messages.put(self._keys.host(self._host_id), encode(seen))])
            self._announced = host
        presence = Presence(
            run=self.run,
            directory=self._directory,
            unseen=tuple(sorted(unseen)),
            stalled=tuple(sorted(stalled)),
        )
        await self._presence.announce(encode(presence))

    async def request_certificate(self, cluster_id: UUID, pem: str) -> None:
        """Ask for a certificate for the servers of a cluster; NotFound when the cluster is gone."""
        key = self._keys.request(self._host_id, cluster_id)
        outcome = await self._writer.write(
            [etcd_messages.exists(self._keys.cluster(cluster_id))],
            [etcd_messages.put(key, encode(CertificateRequest(pem=pem)))],
        )
        if not outcome.revision:
            raise NotFound

    def certificate(self, cluster_id: UUID) -> str | None:
        """Return the certificate that was issued last for this host's servers of a cluster, in PEM."""
        return self._tables.certificates.get((self._host_id, cluster_id))
