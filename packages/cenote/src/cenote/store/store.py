"""The records in etcd, and every change of them; ``reader.py`` has the queries.

A write is a transaction on what it was decided on (``optimistic.py``), is carried out once even if its answer
is lost (``writer.py``), and returns when the cache has it, so that a caller reads its own writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from cenote.errors import Conflict, Misconfigured, NotFound, Unavailable
from cenote.model.event_records import Difference, Event, Note
from cenote.model.records import Cluster, MetricsLogin, Node, Token, Tombstone
from cenote.rules import cluster_backups, clusters, deletions, differences, record_formats, replicas
from cenote.store import audit_log, cache, etcd_messages, history, pruning
from cenote.store.agreements import Agreements
from cenote.store.cache import WatchCache
from cenote.store.client import EtcdClient
from cenote.store.encoding import decode, encode
from cenote.store.failover_requests import FailoverRequests
from cenote.store.groups import Groups
from cenote.store.host_changes import HostChanges
from cenote.store.joining import Joining
from cenote.store.key_rotation import KeyRotation
from cenote.store.key_sharing import KeySharing
from cenote.store.keys import Keys
from cenote.store.liveness import Liveness
from cenote.store.migration import MOST_OPERATIONS
from cenote.store.names_in_dns import NamesInDns
from cenote.store.optimistic import Transaction, commit
from cenote.store.reader import Reader
from cenote.store.rejected_requests import Refusals
from cenote.store.retry import retrying
from cenote.store.settled_clock import SettledClock
from cenote.store.tables import Stored, Tables
from cenote.store.thinning import Thinning
from cenote.store.writer import Writer, WriteResult

T = TypeVar("T")

EVENTS_PAGE = 200
SEARCHED = 5_000  # changes, of which some are asked for

_events = msgspec.json.Decoder(Event)
_metrics_login = msgspec.json.Decoder(MetricsLogin)


class NameTaken(Conflict):
    """Another cluster has this name."""


class PortTaken(Conflict):
    """Another cluster has claimed ``ports`` on ``host``; choose others and try again."""

    def __init__(self, host: str, ports: frozenset[int]) -> None:
        super().__init__(f"ports {sorted(ports)} of host {host} are taken")
        self.host = host
        self.ports = ports


class Store(Reader):
    """All records below one prefix of an etcd.  Many stores, in many processes, may share it."""

    def __init__(self, client: EtcdClient, prefix: str = "/cenote/", *, ephemeral: bool = False) -> None:
        """``ephemeral``: no history is written, since nothing will be restored."""
        self.client = self._client = client
        self.keys = Keys(prefix)
        self._ephemeral = ephemeral
        self._keys = self.keys
        self._tables = Tables(self._keys)
        self._liveness = Liveness(lambda: client.revision(self._keys.prefix))
        self._cache = WatchCache(
            client,
            self._keys.prefix,
            self._tables,
            self._notify,
            self._keys.not_cached,
            self._liveness.silent_for,
        )
        self._writer = Writer(client, self._keys, silent_for=self._liveness.silent_for)
        self.groups = Groups(self._tables, self._cache, self._writer, self._keys)
        self.host_changes = HostChanges(client, self._tables, self._cache, self._writer, self._keys)
        self.names_in_dns = NamesInDns(self._tables, self._cache, self._writer, self._keys)
        self.joining = Joining(self._tables, self._cache, self._writer, self._keys)
        self.refusals = Refusals(self._tables, self._writer, self._keys)
        self.key_rotation = KeyRotation(client, self._writer, self._keys)
        self.key_sharing = KeySharing(self._tables, self._cache, self._writer, self._keys)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self.clock = SettledClock()
        self._thinning = Thinning(client, self._writer, self._keys, self.clock)
        self._agreements = Agreements(client, self._keys, self._on_agreement)
        self.failover_requests = FailoverRequests(client, self._keys)
        self._begin()

    @property
    def connected(self) -> bool:
        """Whether the watch is up and etcd answers; while not, reads are served from the last known state."""
        return super().connected and self._liveness.answers

    async def open(self) -> None:
        """Read every record and start the watch; Unavailable when etcd does not answer.

        Misconfigured when there are records that this version cannot decode: without them, their clusters
        would look deleted.
        """
        await self._cache.open()
        await self._agreements.open()
        self._liveness.begin()
        if self._tables.unreadable:
            await self._liveness.close()
            await self._cache.close()
            some = ", ".join(sorted(self._tables.unreadable)[:3])
            raise Misconfigured(f"records in the store cannot be read by this version: {some}")
        self._look_back()
        self._agreements.follow()

    def _look_back(self) -> None:
        """Go on from the newest times in the store, whatever the clock says."""
        tables = self._tables
        for id in tables.refusals:
            self._keys.event_ids.saw(id)
        for report in tables.reports.values():
            for note in report.notes:
                self._keys.event_ids.saw(note.id)
        times = [report.at for report in tables.reports.values()]
        self.clock.begin(max(times, default=None))

    async def close(self) -> None:
        """Stop the watch.  The client stays open."""
        await self.key_rotation.close()
        await self._thinning.close()
        await self.refusals.close()
        await self._liveness.close()
        await self._agreements.close()
        await self._cache.close()
        self._end()

    async def add_cluster(
        self, cluster: Cluster, note: Note | None = None, *, source: Stored[Cluster] | None = None
    ) -> int:
        """Write the record and claim its name and ports atomically; return the revision.

        The ``source`` of a replica is written again as it is, so that nothing that was decided without the
        replica, such as its deletion, happens to it; Conflict if it has changed.

        With a note, here and below, an audit event is written in the same transaction.  Raises NameTaken or
        PortTaken; Busy when a host runs a version that cannot read it.
        """
        if (format := record_formats.needed(cluster)) > record_formats.WITH_MOVES:
            record_formats.check_readers(self._tables.hosts.values(), format)
        key, claims = self._keys.cluster(cluster.id), self._claims(cluster)
        followed = () if source is None else (self._keys.cluster(source.value.id),)
        outcome = await self._writer.write(
            [
                etcd_messages.missing(key),
                *(etcd_messages.unchanged(one, source.revision) for one in followed if source is not None),
                *map(etcd_messages.missing, claims),
                *map(etcd_messages.exists, self.groups.of(cluster)),
                *self._still_hosts({node.host for node in cluster.nodes}),
            ],
            [
                etcd_messages.put(key, encode(replicas.as_written(cluster))),
                *(etcd_messages.put(one, encode(source.value)) for one in followed if source is not None),
                *self._claim(claims, cluster),
                *self._noted(note, None, cluster),
            ],
            look=[*claims],
        )
        if not outcome.revision:
            raise self._taken(cluster, outcome)
        await self._cache.seen(outcome.revision)
        return outcome.revision

    async def update_cluster(
        self,
        id: UUID,
        change: Callable[[Cluster], Cluster],
        note: Note | None = None,
        *conditions: etcd_messages.Condition,
        deleted: bool = False,
    ) -> Stored[Cluster]:
        """Replace the record by ``change`` of it; ``change`` is called again when another writer was faster.

        Returning the very same object writes nothing, once etcd has confirmed that the record is current.
        Ports of new nodes are claimed; those of removed nodes stay claimed until the cluster is forgotten.
        Those of nodes that are taken off ``left`` are freed, with what their hosts have written.
        NotFound when there is no such cluster or it has ``deleted_at``; PortTaken and NameTaken as in
        ``add_cluster``; Busy when a host runs a version that cannot read the new record; Conflict after many
        attempts.

        With ``deleted`` the same of a cluster that is deleted and can be undeleted, and of no other.
        """
        decided: list[Cluster] = []

        def changed() -> tuple[Stored[Cluster], Cluster]:
            current = self.cluster(id)
            if current is None or not _is_meant(current.value, deleted=deleted):
                raise NotFound
            return current, change(current.value)

        def decide() -> Transaction | None:
            current, value = changed()
            decided[:] = [value]
            return None if value is current.value else self._update(current, value, note, conditions)

        lock = self._locks.setdefault(id, asyncio.Lock())
        if lock.locked():  # what is refused need not wait for the changes of others
            await self._cache.refresh(self._decided_on(id))
            changed()
        async with lock:
            revision = await commit(self._cache, self._writer, decide, keys=self._decided_on(id))
            if not revision:
                current = self.cluster(id)
                assert current is not None
                return current
            await self._cache.seen(revision)
            return Stored(decided[0], revision)

    def is_absent(self, host_id: str) -> etcd_messages.Condition:
        """The condition that the agent of a host is not there."""
        return etcd_messages.missing(self._keys.presence(host_id))

    async def delete_cluster(
        self, id: UUID, at: datetime, note: Note | None = None, days: int = 0
    ) -> Stored[Cluster]:
        """Set ``deleted_at`` and free the name; the ports stay claimed until its hosts have stopped it.

        It can be undeleted for so many ``days``, or as many as its record says; not at all if a host runs a
        version that knows nothing of that.
        NotFound as for a change; Invalid for a cluster that is protected from deletion, or has replicas; Busy
        while one of these is being promoted.
        """

        def deleted(cluster: Cluster) -> Cluster:
            clusters.check_deletable(cluster)
            replicas.check_none(cluster, [stored.value for stored in self.replicas(id)])
            kept = days if cluster.undelete_days is None else cluster.undelete_days
            if self._ephemeral or cluster.replica_of is not None:
                kept = 0  # of a replica, its source has all
            elif not record_formats.are_read(self._tables.hosts.values()):
                kept = 0
            leader, backed_up = self.leader(cluster), self._is_backed_up(cluster)
            if kept:  # the report goes with the deletion
                knows_losses = record_formats.are_read(self._tables.hosts.values(), record_formats.WITH_NODES)
                cluster = cluster_backups.with_every_loss(cluster, self.reports(id), read=knows_losses)
            return deletions.deleted(cluster, at, kept, leader, backed_up=backed_up)

        return await self.update_cluster(id, deleted, note)

    def _is_backed_up(self, cluster: Cluster) -> bool:
        """Return whether a cluster has a backup, which every host knows how to restore."""
        reports, plan = self.reports(cluster.id).values(), cluster.backups
        has_any = any(one.backups is not None and one.backups.backups for one in reports)
        was_recovered = plan is not None and bool(plan.lineage)  # its new host may not have looked yet
        readable = record_formats.are_read(self._tables.hosts.values(), record_formats.WITH_RESTORES)
        return plan is not None and (has_any or was_recovered) and readable

    async def forget_cluster(self, id: UUID, *conditions: etcd_messages.Condition) -> None:
        """Remove the record, the reports on it and its claims, and leave a tombstone.

        Nothing when it is gone already, or when one of ``conditions`` does not hold.  Unavailable while the
        cache is behind the record: it would not know of all ports that are claimed.
        """
        key = self._keys.cluster(id)
        while (found := await retrying(lambda: self._client.read(key))) is not None:
            if not await self._cache.wait_for_revision(found.mod_revision, cache.SEEN_SECONDS):
                raise Unavailable("the watch on etcd is behind; the cluster is removed later")
            cluster = self._tables.decode_cluster(key, found.value, found.mod_revision).value
            outcome = await self._writer.write(
                [etcd_messages.unchanged(key, found.mod_revision), *conditions],
                self._forgetting(cluster, found.mod_revision),
                look=[key],
            )
            if outcome.revision:
                await self._cache.seen(outcome.revision)
                return
            now = outcome.found.get(key)
            if now is not None and now.mod_revision == found.mod_revision:
                return

    def _forgetting(self, cluster: Cluster, revision: int) -> list[etcd_messages.EtcdOperation]:
        # Claims may outlive what the record names: ports of nodes that were removed from it.
        claims = self._claims(cluster) | {
            self._keys.port(host, port)
            for host, claimed in self._tables.ports.items()
            for port, owner in claimed.items()
            if owner == cluster.id
        }
        hosts = {node.host for node in (*cluster.nodes, *cluster.left)} | {
            host for host, id, _ in self._tables.reports if id == cluster.id
        }
        below_hosts = [
            operation
            for host in sorted(hosts)
            for operation in (
                etcd_messages.delete_prefix(self._keys.reports(host, cluster.id)),
                etcd_messages.delete(self._keys.request(host, cluster.id)),
                etcd_messages.delete(self._keys.certificate(host, cluster.id)),
            )
        ]
        stone = Tombstone(name=cluster.name, at=datetime.now(UTC))
        return [
            *map(etcd_messages.delete, [self._keys.cluster(cluster.id), *claims]),
            *below_hosts,
            etcd_messages.put(self._keys.deleted(cluster.id), encode(stone)),
            *self._kept(cluster, revision),
        ]

    async def add_event(self, event: Event, *conditions: etcd_messages.Condition) -> None:
        """Write an event that an agent has noted, unless it is there already."""
        key = self._keys.event(event.cluster_id, event.id)
        outcome = await self._writer.write(
            [etcd_messages.missing(key), *conditions], [etcd_messages.put(key, encode(event))]
        )
        await self._cache.seen(outcome.revision)

    async def event_ids(self, cluster_id: UUID) -> set[str]:
        """Return the ids of a cluster's events."""
        folder = self._keys.events(cluster_id)

        async def read() -> set[str]:
            return {
                found.key.decode().removeprefix(folder)
                async for page in self._client.pages(folder, EVENTS_PAGE, keys_only=True)
                for found in page.found
            }

        return await retrying(read)

    async def issue_certificate(
        self,
        host_id: str,
        cluster_id: UUID,
        revision: int,
        pem: str,
        *conditions: etcd_messages.Condition,
    ) -> None:
        """Answer the request of this revision with a certificate, which takes its place."""
        request = self._keys.request(host_id, cluster_id)
        outcome = await self._writer.write(
            [etcd_messages.unchanged(request, revision), *conditions],
            [
                etcd_messages.put(self._keys.certificate(host_id, cluster_id), pem.encode()),
                etcd_messages.delete(request),
            ],
        )
        await self._cache.seen(outcome.revision)

    async def prune(self, now: datetime, *conditions: etcd_messages.Condition) -> int:
        """Remove the events, past records and tombstones that are not kept any longer; return how many."""
        return await pruning.prune(self._client, self._writer, self._keys, self._tables, now, *conditions)

    async def past_records(self, cluster_id: UUID) -> list[tuple[datetime, Cluster]]:
        """Return what the record of a cluster was and until when, the oldest first, as far as it is kept."""
        return await retrying(lambda: history.records(self._client, self._keys, cluster_id))

    async def events(self, cluster_id: UUID) -> list[Event]:
        """Return the changes of a cluster, the newest first."""
        folder = self._keys.events(cluster_id)
        found: list[etcd_messages.KeyValue] = []

        async def read() -> None:
            found.clear()
            async for page in self._client.pages(folder, EVENTS_PAGE):
                found.extend(page.found)

        await retrying(read)
        # By revision, as the clock may have been set back; a migration writes many with one.
        newest_first = sorted(found, key=lambda one: (one.mod_revision, one.key), reverse=True)
        return [self._event(one) for one in newest_first]

    async def audit(
        self, cluster_id: UUID | None, count: int, selects: Callable[[Event], bool] | None = None
    ) -> tuple[list[Event], int]:
        """Return the newest changes and rejected requests, the newest first, and how many there are.

        Of one cluster, or all; of those that ``selects`` is true of, among the newest ``SEARCHED``.
        """
        folder = self._keys.all_events if cluster_id is None else self._keys.events(cluster_id)
        # More, since of those that a migration wrote at once etcd does not know which is newer.
        most = SEARCHED if selects is not None else count + MOST_OPERATIONS
        found, total = await retrying(lambda: self._client.newest(folder, most))
        refused = [
            event
            for event in self._tables.refusals.values()
            if cluster_id is None or event.cluster_id == cluster_id
        ]
        newest = sorted([*map(self._event, found), *refused], key=lambda event: event.id, reverse=True)
        if selects is not None:
            newest = list(filter(selects, newest))
            return newest[:count], len(newest)
        return newest[:count], total + len(refused)

    def _event(self, found: etcd_messages.KeyValue) -> Event:
        event = decode(found.key.decode(), found.value, _events)
        return msgspec.structs.replace(event, revision=found.mod_revision)

    async def add_token(self, sha256_hex: str, token: Token, note: Note | None = None) -> None:
        await self._put(self._keys.token(sha256_hex), token, note, differences.of_token(None, token))

    async def revoke_token(self, id: UUID, note: Note | None = None) -> None:
        """Remove a token; NotFound when there is none with this id."""

        def decide() -> Transaction:
            tokens = {
                self._keys.token(hash): one for hash, one in self._tables.tokens.items() if one.id == id
            }
            if not tokens:
                raise NotFound
            [removed, *_] = tokens.values()
            noted = [] if note is None else self._logged(note, differences.of_token(removed, None))
            return Transaction(
                [*map(etcd_messages.exists, tokens)],
                [*map(etcd_messages.delete, tokens), *noted],
                refused=lambda _: NotFound(),
            )

        revision = await commit(self._cache, self._writer, decide, folders=[self._keys.tokens])
        await self._cache.seen(revision)

    async def add_metrics_login(self, login: MetricsLogin) -> MetricsLogin:
        """Write the login for metrics, unless there is one; return the one that there is then."""
        key = self._keys.metrics_login
        operations = [etcd_messages.put(key, encode(login))]
        outcome = await self._writer.write([etcd_messages.missing(key)], operations, look=[key])
        if outcome.revision:
            await self._cache.seen(outcome.revision)
            return login
        return decode(key, outcome.found[key].value, _metrics_login)

    async def replace_metrics_login(self, login: MetricsLogin, note: Note | None = None) -> None:
        changes = differences.of_metrics_login(self.metrics_login(), login)
        await self._put(self._keys.metrics_login, login, note, changes)

    async def confirm_cluster(self, id: UUID) -> bool:
        """Bring a cluster to what etcd holds; return whether it was different.

        To be called before something of a cluster is reported as missing.
        """
        return await self._confirm(self._keys.cluster(id))

    async def confirm_name(self, name: str) -> bool:
        """The same for the claim on a cluster's name."""
        return await self._confirm(self._keys.name(name))

    async def confirm_token(self, sha256_hex: str) -> bool:
        """The same for a token."""
        return await self._confirm(self._keys.token(sha256_hex))

    async def confirm_hosts(self) -> bool:
        """The same for the hosts that are alive, and the ports on them."""
        claimed = [self._keys.ports_of(host.id) for host in self.known_hosts()]
        folders = [self._keys.hosts, self._keys.presences, self._keys.drains, *claimed]
        before = self._cache.versions(folders=folders)
        await self._cache.refresh(folders=folders)
        return self._cache.versions(folders=folders) != before

    async def _confirm(self, key: str) -> bool:
        before = self._cache.versions([key])
        await self._cache.refresh([key])
        return self._cache.versions([key]) != before

    def _decided_on(self, id: UUID) -> list[str]:
        """The keys that a change of a cluster may rest on: its record, and the reports on its nodes."""
        known = self._tables.clusters.get(id)
        nodes = () if known is None else (*known.value.nodes, *known.value.left)
        return [self._keys.cluster(id), *(self._keys.report(node.host, id, node.name) for node in nodes)]

    def _update(
        self,
        current: Stored[Cluster],
        value: Cluster,
        note: Note | None,
        conditions: tuple[etcd_messages.Condition, ...],
    ) -> Transaction:
        if (format := record_formats.needed(value)) > record_formats.needed(current.value):
            record_formats.check_readers(self._tables.hosts.values(), format)
        key = self._keys.cluster(value.id)
        claims = self._claims(value) - self._claims(current.value)
        freed = {self._keys.name(current.value.name)} & self._claims(current.value) - self._claims(value)
        if value.is_put_away:
            freed |= self._claims(current.value) - self._claims(value)
        gone = [node for node in current.value.left if node not in (*value.nodes, *value.left)]
        entered = self.groups.of(value)
        if current.value.deleted_at is None or value.deleted_at is not None:
            entered -= self.groups.of(current.value)
        return Transaction(
            [
                etcd_messages.unchanged(key, current.revision),
                *map(etcd_messages.missing, claims),
                *map(etcd_messages.exists, entered),
                *self._still_hosts(
                    {node.host for node in value.nodes}
                    - {node.host for node in _running_nodes(current.value)}
                ),
                *conditions,
            ],
            [
                etcd_messages.put(key, encode(replicas.as_written(value))),
                *self._claim(claims, value),
                *map(etcd_messages.delete, freed),
                *self._releasing(gone, value),
                *self._noted(note, current.value, value),
                *self._kept(current.value, current.revision),
            ],
            look=[*claims],
            refused=lambda outcome: self._taken(value, outcome),
        )

    def _releasing(self, gone: Iterable[Node], cluster: Cluster) -> list[etcd_messages.EtcdOperation]:
        """Remove what is kept for nodes that are gone from hosts that have no other node of the cluster."""
        used = {(node.host, port) for node in (*cluster.nodes, *cluster.left) for port in node.ports}
        hosts = {host for host, _ in used}
        keys = set()
        for node in gone:
            keys |= {self._keys.port(node.host, port) for port in node.ports if (node.host, port) not in used}
            keys.add(self._keys.report(node.host, cluster.id, node.name))
            if node.host not in hosts:
                keys.add(self._keys.request(node.host, cluster.id))
                keys.add(self._keys.certificate(node.host, cluster.id))
        return [*map(etcd_messages.delete, sorted(keys))]

    async def _put(
        self, key: str, record: Token | MetricsLogin, note: Note | None, changes: tuple[Difference, ...]
    ) -> None:
        noted = [] if note is None else self._logged(note, changes)
        outcome = await self._writer.write([], [etcd_messages.put(key, encode(record)), *noted])
        await self._cache.seen(outcome.revision)

    def _noted(
        self, note: Note | None, before: Cluster | None, after: Cluster
    ) -> list[etcd_messages.EtcdOperation]:
        if note is None:
            return []
        return audit_log.of_change(self._keys, note, before, after, self._tables.name_of)

    def _logged(self, note: Note, changes: tuple[Difference, ...]) -> list[etcd_messages.EtcdOperation]:
        return audit_log.operations(self._keys, note, changes)

    def _kept(self, cluster: Cluster, revision: int) -> list[etcd_messages.EtcdOperation]:
        if self._ephemeral:
            return []
        kept = history.operation(self._keys, replicas.as_written(cluster), revision)
        assert kept.request_put is not None
        self._thinning.wrote(cluster.id, len(kept.request_put.value))
        return [kept]

    def _claims(self, cluster: Cluster) -> set[str]:
        """The keys that belong to this cluster alone: its name until it is deleted, and its nodes' ports.

        It keeps no port once all that is left of it is in the trash.
        """
        if cluster.is_put_away:
            return set()
        names = {self._keys.name(cluster.name)} if cluster.deleted_at is None else set()
        nodes = (node for node in (*cluster.nodes, *cluster.left) if node.lost_at is None)
        ports = ((node.host, port) for node in nodes for port in node.ports)
        return names | {self._keys.port(host, port) for host, port in ports}

    def _claim(self, claims: set[str], cluster: Cluster) -> list[etcd_messages.EtcdOperation]:
        return [etcd_messages.put(claim, str(cluster.id).encode()) for claim in claims]

    def _still_hosts(self, host_ids: set[str]) -> list[etcd_messages.Condition]:
        """Return the condition that hosts which get a node were not removed."""
        return [etcd_messages.missing(self._keys.removed_host(id)) for id in sorted(host_ids)]

    def _taken(self, cluster: Cluster, outcome: WriteResult) -> Conflict:
        """Return the error for a claim that another cluster holds."""
        if self._keys.name(cluster.name) in outcome.found:
            return NameTaken("cluster name is not available")
        for node in (*cluster.nodes, *cluster.left):
            ports = frozenset(
                port for port in node.ports if self._keys.port(node.host, port) in outcome.found
            )
            if ports:
                return PortTaken(node.host, ports)
        return Conflict(
            "The project, the network or the host of the cluster was removed meanwhile; try again."
        )


def _is_meant(cluster: Cluster, *, deleted: bool) -> bool:
    """Return whether a cluster is there; with ``deleted``, whether it is deleted and can be undeleted."""
    if not deleted:
        return cluster.deleted_at is None
    return cluster.deleted_at is not None and cluster.keep is not None and not cluster.keep.purged


def _running_nodes(cluster: Cluster) -> tuple[Node, ...]:
    return () if cluster.is_put_away else cluster.nodes
