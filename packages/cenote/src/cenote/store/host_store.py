"""The store as an agent sees it: what it may read, and the records below its own host's id that it writes.

It never writes a cluster's record or an event: what it does by itself stands as notes in its reports.  Each
folder has a watch of its own, since etcd refuses a watch that is wider than the agent's rights.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import UUID, uuid4

import msgspec

from cenote.errors import Misconfigured, NotFound, Unavailable
from cenote.model.backups import BackupReport
from cenote.model.event_records import Note
from cenote.model.fleet_records import CertificateRequest, Host, HostRequest, Presence, RemovedHost
from cenote.model.migrations import MigrationReport
from cenote.model.record import Secret
from cenote.model.records import Cluster, Tombstone
from cenote.model.status_records import NodeStatus, RehearsalReport, ReportedNote
from cenote.model.topology import node_key, reported_health
from cenote.rules.sweep import Evidence, nodes_on
from cenote.security import fleet_certificates
from cenote.store import etcd_messages
from cenote.store.access import failover_user
from cenote.store.agreements import Agreements
from cenote.store.cache import PAGE, WatchCache
from cenote.store.client import EtcdClient
from cenote.store.encoding import NewerFormat, decode, encode
from cenote.store.keys import Keys
from cenote.store.lease import LeasedKey
from cenote.store.migration import StoreRecord
from cenote.store.reader import Reader
from cenote.store.retry import retrying
from cenote.store.settled_clock import SettledClock
from cenote.store.tables import Tables
from cenote.store.writer import Writer

log = logging.getLogger(__name__)

PRESENCE_SECONDS = 10
MOST_NOTES = 10
MOST_UNSEEN = 1000  # named in a presence, which is rewritten as they are seen

_presences = msgspec.json.Decoder(Presence)
_removed = msgspec.json.Decoder(RemovedHost)
_clusters, _tombstones = msgspec.json.Decoder(Cluster), msgspec.json.Decoder(Tombstone)


class HostStore(Reader):
    """The store of one host's agent.  ``run`` names this process in reports and in the presence."""

    def __init__(
        self,
        client: EtcdClient,
        host_id: str,
        directory: str = "",
        prefix: str = "/cenote/",
        presence_seconds: int | None = None,
        *,
        keeps_backups: bool = True,
    ) -> None:
        """``directory`` tells the data directory from a copy of it; see ``Presence``.

        Without ``keeps_backups``, what a former process said of backups is not said any more.  The presence
        expires ``presence_seconds`` after this process dies, or PRESENCE_SECONDS.
        """
        self._client, self._host_id, self._directory = client, host_id, directory
        self._keeps_backups = keeps_backups
        self.run, self._started_at = uuid4().hex, datetime.now(UTC).replace(microsecond=0)
        self._keys = Keys(prefix)
        self._tables = Tables(self._keys)
        self._writer = Writer(client, self._keys, host_id)
        self._begin()
        folders = (
            self._keys.clusters,
            self._keys.certificates_of(host_id),
            self._keys.ports_of(host_id),
            self._keys.hosts,  # the addresses of others
            self._keys.reports_of(host_id),
        )
        self._caches = [WatchCache(client, folder, self._tables, self._notify) for folder in folders]
        self._cache = self._caches[0]
        self._agreements = Agreements(client, self._keys, self._on_agreement)
        self._reported: dict[tuple[UUID, str], NodeStatus] = {}
        self._noted: dict[tuple[UUID, str], tuple[ReportedNote, ...]] = {}
        self._backed_up: dict[tuple[UUID, str], BackupReport | None] = {}
        self._migrated: dict[tuple[UUID, str], MigrationReport] = {}
        self._rehearsed: dict[tuple[UUID, str], RehearsalReport] = {}
        self._locks: dict[tuple[UUID, str], asyncio.Lock] = {}
        self._announced: Host | None = None
        self.clock = SettledClock()
        seconds = PRESENCE_SECONDS if presence_seconds is None else presence_seconds
        self._presence = LeasedKey(client, self._writer, self._keys.presence(host_id), seconds, self._refusal)

    @property
    def host_id(self) -> str:
        return self._host_id

    async def open(self) -> None:
        """Read what there is, start the watches and appear as present; Unavailable when etcd does not answer.

        Misconfigured while another data directory serves as this host.
        """
        for cache in self._caches:
            await cache.load()
        await self._agreements.open()
        for (_, cluster_id, node), report in self._tables.reports.items():
            self._noted[cluster_id, node] = report.notes
            if self._keeps_backups:
                self._backed_up[cluster_id, node] = report.backups
        self.clock.begin(max((report.at for report in self._tables.reports.values()), default=None))
        await self._appear(self.unseen(), ())
        for cache in self._caches:  # last, since a call that fails is tried again
            cache.follow()
        self._agreements.follow()

    async def close(self) -> None:
        """Stop the watches and withdraw the presence.  The client stays open."""
        await self._presence.withdraw()
        for cache in self._caches:
            await cache.close()
        await self._agreements.close()
        self._end()

    async def publish(self, cluster_id: UUID, shared: bytes, password: Secret | None = None) -> None:
        """Have Patroni's shared configuration of a cluster in the store, as the cluster's own user.

        Without a password, of an etcd that wants none, as ourselves.
        """
        put = etcd_messages.put(f"{self._keys.failover_of(cluster_id)}config", shared)
        request = etcd_messages.TransactionRequest([], [put], [])
        if password is None:
            await retrying(lambda: self._client.transact(request))
            return
        client = self._client.logged_in_as(failover_user(cluster_id), password)
        try:
            await retrying(lambda: client.transact(request))
        finally:
            await client.close()

    def status(self, cluster_id: UUID, node_name: str) -> NodeStatus | None:
        """The last report on a node of this host, by this process or a former one."""
        # What was written last may not have come back by the watch.
        written = self._reported.get((cluster_id, node_name))
        return written or self._tables.reports.get((self._host_id, cluster_id, node_name))

    def unseen(self) -> list[str]:
        """The nodes of this host that this process has not reported on yet, as ``Presence`` names them."""
        return [
            node_key(cluster.id, node.name)
            for cluster in self.living_clusters()
            for node in cluster.nodes
            if node.host == self._host_id and (cluster.id, node.name) not in self._reported
        ]

    def reported_nodes(self, cluster_id: UUID) -> list[str]:
        """The names of a cluster's nodes on this host that there are reports on, whatever its record says."""
        return [node for _, id, node in self._tables.reports if id == cluster_id]

    def nodes_here(self, cluster_id: UUID) -> set[str]:
        """The names of the nodes that a cluster's record has on this host, those to be removed included."""
        stored = self._tables.clusters.get(cluster_id)
        return set() if stored is None else nodes_on(self._host_id, stored.value)

    async def evidence(self, cluster_id: UUID) -> Evidence:
        """Read afresh what the store says of a cluster; Unavailable when that cannot be had."""
        key, stone_key = self._keys.cluster(cluster_id), self._keys.deleted(cluster_id)
        # In this order: a tombstone is written in the transaction that removes the record.
        marker = await retrying(lambda: self._client.read(self._keys.marker))
        record = await retrying(lambda: self._client.read(key))
        stone = await retrying(lambda: self._client.read(stone_key))
        store = None if marker is None else msgspec.json.decode(marker.value, type=StoreRecord).id
        try:
            return Evidence(
                store=store,
                record=None if record is None else decode(key, record.value, _clusters),
                tombstone=None if stone is None else decode(stone_key, stone.value, _tombstones),
            )
        except (NewerFormat, msgspec.DecodeError):
            return Evidence(store=store, readable=False)

    async def report(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        """Write the report on a node, unless only ``at`` differs or the cluster is forgotten."""
        said = msgspec.structs.replace(status, run=self.run)
        await self._write_report((cluster_id, node_name), lambda: said)

    async def _write_report(self, node: tuple[UUID, str], make: Callable[[], NodeStatus | None]) -> None:
        """Write the report that ``make`` returns, which is called when no other one is on its way.

        So what rests on the last report is not written over one that came meanwhile.
        """
        cluster_id, node_name = node
        async with self._locks.setdefault(node, asyncio.Lock()):
            status = make()
            if status is None:
                return
            status = msgspec.structs.replace(
                status, notes=self._noted.get(node, ()), backups=self._backed_up.get(node)
            )
            if (migration := self._migrated.get(node)) is not None:
                status = msgspec.structs.replace(status, migration=migration)
            if (rehearsal := self._rehearsed.get(node)) is not None:
                status = msgspec.structs.replace(status, rehearsal=rehearsal)
            # A report that etcd has lost, such as when it was restored from a copy, is written again.
            if self._stands(node, status):
                return
            key = self._keys.report(self._host_id, cluster_id, node_name)
            conditions = [etcd_messages.exists(self._keys.cluster(cluster_id)), self._not_removed]
            outcome = await self._writer.write(conditions, [etcd_messages.put(key, encode(status))])
            if outcome.revision:
                if status.run == self.run:
                    self._reported[node] = status
                await self._caches[-1].seen(outcome.revision)  # or the next call would take it for lost

    def has_report(self, cluster_id: UUID, node_name: str) -> bool:
        """Return whether the report that this process wrote last on a node stands in the store."""
        written = self._reported.get((cluster_id, node_name))
        return written is not None and self._stands((cluster_id, node_name), written)

    def _stands(self, node: tuple[UUID, str], status: NodeStatus) -> bool:
        """Return whether a report was written and is there, as if only ``at`` differs."""
        found = self._reported.get(node), self._tables.reports.get((self._host_id, *node))
        return all(one is not None and msgspec.structs.replace(one, at=status.at) == status for one in found)

    async def remember(self, cluster_id: UUID, node_name: str, note: Note) -> None:
        """Add a note to the report on a node: the change becomes an event."""
        at = datetime.now(UTC)
        earlier_notes = () if (known := self.status(cluster_id, node_name)) is None else known.notes
        for earlier in earlier_notes:
            self._keys.event_ids.saw(earlier.id)
        reported = ReportedNote(id=self._keys.event_ids.new(at), at=at.replace(microsecond=0), note=note)
        node = cluster_id, node_name
        self._noted[node] = (*self._noted.get(node, ()), reported)[-MOST_NOTES:]
        # A report that a former agent wrote stays its own: it is not what this one has seen.
        try:
            await self._write_report(
                node, lambda: self.status(cluster_id, node_name) or NodeStatus(reached=0, at=at)
            )
        except Unavailable as error:
            log.warning("cluster %s: an event is written with the next report: %s", cluster_id, error)

    async def backed_up(self, cluster_id: UUID, node_name: str, backups: BackupReport | None) -> None:
        """Say in the report on a node what is known of its backups; they stay in those that follow."""
        node = cluster_id, node_name
        self._backed_up[node] = backups

        def with_backups() -> NodeStatus | None:
            known = self._reported.get(node)
            if known is None:  # a report that a former agent wrote stays its own, and the next one says it
                return None
            now = datetime.now(UTC)
            status = msgspec.structs.replace(known, backups=self._backed_up.get(node), at=now)
            if reported_health(status) is not reported_health(known):
                status = msgspec.structs.replace(status, since=now.replace(microsecond=0))
            return status

        try:
            await self._write_report(node, with_backups)
        except Unavailable as error:
            log.warning("cluster %s: its backups stand in the next report: %s", cluster_id, error)

    async def migrated(self, cluster_id: UUID, node_name: str, migration: MigrationReport) -> None:
        """Say in the report on a node how far an online migration is; Unavailable if that was not written."""
        node = cluster_id, node_name
        self._migrated[node] = migration
        await self._write_report(node, lambda: self._last_report(node))

    async def rehearsed(self, cluster_id: UUID, node_name: str, rehearsal: RehearsalReport) -> None:
        """Say in the report on a node how far a rehearsal is; Unavailable if that was not written."""
        node = cluster_id, node_name
        self._rehearsed[node] = rehearsal
        await self._write_report(node, lambda: self._last_report(node))

    def _last_report(self, node: tuple[UUID, str]) -> NodeStatus | None:
        known = self._reported.get(node) or self.status(*node)
        return None if known is None else msgspec.structs.replace(known, at=datetime.now(UTC))

    def repository_id(self, host: Host) -> str:
        """Return the mark of a host's repository, as a former process has told it; "" if none has."""
        former = self.host(host.id)
        return former.repository_id if former is not None and former.repository == host.repository else ""

    def forget(self, cluster_id: UUID, node_name: str) -> None:
        """Drop what is remembered of a node that is gone."""
        node = cluster_id, node_name
        self._locks.pop(node, None)
        self._reported.pop(node, None)
        self._noted.pop(node, None)
        self._backed_up.pop(node, None)
        self._migrated.pop(node, None)
        self._rehearsed.pop(node, None)

    async def removed_hosts(self) -> frozenset[str]:
        """Read the ids of all hosts that were removed."""
        folder = self._keys.removed_hosts
        return frozenset(
            [
                unquote(found.key.decode().removeprefix(folder))
                async for page in self._client.pages(folder, PAGE, keys_only=True)
                for found in page.found
            ]
        )

    async def announce(self, host: Host, *, stalled: Iterable[str] = ()) -> bool:
        """Write the host's record and its presence, each when it has changed.

        ``stalled`` are the nodes whose pass does not end.  Return whether all nodes of the host are seen.
        Misconfigured when the host was removed; then it is not present any more.
        """
        key = self._keys.removed_host(self._host_id)
        found = await retrying(lambda: self._client.read(key))
        if found is not None:
            await self._presence.withdraw()
            raise was_removed(self._host_id, decode(key, found.value, _removed))
        if host != self._announced:
            seen = msgspec.structs.replace(host, seen_at=datetime.now(UTC).replace(microsecond=0))
            put = etcd_messages.put(self._keys.host(self._host_id), encode(seen))
            if (await self._writer.write([self._not_removed], [put])).revision:
                self._announced = host
        unseen = self.unseen()
        await self._appear(unseen, stalled)
        return not unseen

    async def _appear(self, unseen: Iterable[str], stalled: Iterable[str]) -> None:
        presence = Presence(
            run=self.run,
            directory=self._directory,
            unseen=tuple(sorted(unseen)[:MOST_UNSEEN]),
            stalled=tuple(sorted(stalled)),
            started_at=self._started_at,
        )
        await self._presence.announce(encode(presence))

    @property
    def _not_removed(self) -> etcd_messages.Condition:
        return etcd_messages.missing(self._keys.removed_host(self._host_id))

    def _refusal(self, value: bytes) -> Misconfigured | None:
        """Return the error for a presence that is not of this data directory."""
        found = decode(self._keys.presence(self._host_id), value, _presences)
        if found.directory == self._directory:
            return None  # a predecessor, whose lock of the directory this service holds
        return Misconfigured(
            f"another service uses this store as the same host (id {self._host_id}): its data directory is a "
            "copy of this one, or this one of it"
        )

    async def request_certificate(self, cluster_id: UUID, pem: str) -> None:
        """Ask for a certificate for the servers of a cluster; NotFound when the cluster is gone."""
        key = self._keys.request(self._host_id, cluster_id)
        outcome = await self._writer.write(
            [etcd_messages.exists(self._keys.cluster(cluster_id))],
            [etcd_messages.put(key, encode(CertificateRequest(pem=pem)))],
        )
        if not outcome.revision:
            raise NotFound

    async def request_host_certificate(self, pem: str) -> None:
        """Ask for this host's certificate of the fleet, unless that was done."""
        key, value = self._keys.host_request(self._host_id), encode(HostRequest(pem=pem))
        found = await self._client.read(key)
        if found is None or found.value != value:
            await self._writer.write([], [etcd_messages.put(key, value)])

    async def host_certificate(self) -> str | None:
        """Return the certificate of the fleet that was issued last for this host, with the CA's, in PEM."""
        found = await self._client.read(self._keys.host_certificate(self._host_id))
        return None if found is None else found.value.decode()

    def certificate(self, cluster_id: UUID) -> str | None:
        """Return the certificate that was issued last for this host's servers of a cluster, in PEM."""
        found = self._tables.certificates.get((self._host_id, cluster_id))
        return None if found is None else fleet_certificates.split(found)[0]

    def store_certificate(self, cluster_id: UUID) -> str:
        """Return the one that was issued with it for the fleet's store, "" if none was."""
        found = self._tables.certificates.get((self._host_id, cluster_id), "")
        return fleet_certificates.split(found)[1]


def was_removed(id: str, removed: RemovedHost) -> Misconfigured:
    """Return the error for a host that comes back after it was removed."""
    how = "removed as lost" if removed.lost else "removed"
    at = f"{removed.at:%Y-%m-%d %H:%M:%S} UTC"
    return Misconfigured(
        f"the host {removed.name} (id {id}) was {how} from this service at {at}; "
        "its servers are left as they are, and so are its data. To use this machine again, start it as a new "
        "host with another --data-dir and a token of 'cenote host token'"
    )
