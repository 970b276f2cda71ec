"""The records in etcd, and every change of them; ``reader.py`` has the queries.

A write is a transaction on what it was decided on (``optimistic.py``), is carried out once even if its answer
is lost (``writer.py``), and returns when the cache has it, so that a caller reads its own writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from cenote.errors import Conflict, Misconfigured, NotFound, Unavailable
from cenote.model.records import Cluster, Host, MetricsLogin, NodeStatus, Note, Token
from cenote.store import audit_log, cache, etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.client import EtcdClient
from cenote.store.groups import Groups
from cenote.store.key_rotation import KeyRotation
from cenote.store.lease import LeasedKey
from cenote.store.optimistic import Transaction, commit
from cenote.store.reader import Reader
from cenote.store.rejected_requests import Refusals
from cenote.store.retry import retrying
from cenote.store.subscription import Changes
from cenote.store.tables import Keys, Stored, Tables
from cenote.store.writer import Writer, WriteResult

T = TypeVar("T")


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

    def __init__(self, client: EtcdClient, prefix: str = "/cenote/", here: str = "") -> None:
        """``here`` is the host of this process, which may be announced by another process."""
        self._here = here
        self._client = client
        self._keys = Keys(prefix)
        self._tables = Tables(self._keys)
        self._cache = WatchCache(client, self._keys.prefix, self._tables, self._notify)
        self._writer = Writer(client, self._keys)
        self.groups = Groups(self._tables, self._cache, self._writer, self._keys)
        self.refusals = Refusals(self._tables, self._writer, self._keys)
        self.key_rotation = KeyRotation(client, self._tables, self._writer, self._keys)
        self._announced: dict[str, LeasedKey] = {}
        self._reported: dict[tuple[UUID, str], NodeStatus] = {}  # the last status written of each node
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._changed = asyncio.Event()  # replaced after each change
        self._subscribers: set[Changes] = set()

    async def open(self) -> None:
        """Read every record and start the watch; Unavailable when etcd does not answer.

        Misconfigured when there are records that this version cannot decode: without them, their clusters
        would look deleted.
        """
        await self._cache.open()
        if self._tables.unreadable:
            await self._cache.close()
            some = ", ".join(sorted(self._tables.unreadable)[:3])
            raise Misconfigured(f"records in the store cannot be read by this version: {some}")

    async def close(self) -> None:
        """Stop the watch and withdraw the announced hosts.  The client stays open."""
        await self.key_rotation.close()
        for presence in self._announced.values():
            await presence.withdraw()
        self._announced.clear()
        await self.refusals.close()
        await self._cache.close()
        for subscriber in list(self._subscribers):
            subscriber.close()

    async def add_cluster(self, cluster: Cluster, note: Note | None = None) -> int:
        """Write the record and claim its name and ports atomically; return the revision.

        With a note, here and below, an audit event is written in the same transaction.  Raises NameTaken or
        PortTaken.
        """
        key, claims = self._keys.cluster(cluster.id), self._claims(cluster)
        outcome = await self._writer.write(
            [
                etcd_messages.missing(key),
                *map(etcd_messages.missing, claims),
                *map(etcd_messages.exists, self.groups.of(cluster)),
            ],
            [
                etcd_messages.put(key, msgspec.json.encode(cluster)),
                *self._claim(claims, cluster),
                *self._noted(note, cluster),
            ],
            look=[*claims],
        )
        if not outcome.revision:
            raise self._taken(cluster, outcome)
        await self._cache.seen(outcome.revision)
        return outcome.revision

    async def update_cluster(
        self, id: UUID, change: Callable[[Cluster], Cluster], note: Note | None = None
    ) -> Stored[Cluster]:
        """Replace the record by ``change`` of it; ``change`` is called again when another writer was faster.

        Returning the very same object writes nothing, once etcd has confirmed that the record is current.
        Ports of new nodes are claimed; those of removed nodes stay claimed until the cluster is forgotten.
        NotFound when there is no such cluster or it has ``deleted_at``; PortTaken and NameTaken as in
        ``add_cluster``; Conflict after many attempts.
        """
        decided: list[Cluster] = []

        def decide() -> Transaction | None:
            current = self.cluster(id)
            if current is None or current.value.deleted_at is not None:
                raise NotFound
            value = change(current.value)
            decided[:] = [value]
            return None if value is current.value else self._update(current, value, note)

        async with self._locks.setdefault(id, asyncio.Lock()):
            revision = await commit(self._cache, self._writer, decide, keys=[self._keys.cluster(id)])
            if not revision:
                current = self.cluster(id)
                assert current is not None
                return current
            await self._cache.seen(revision)
            return Stored(decided[0], revision)

    async def delete_cluster(self, id: UUID, at: datetime, note: Note | None = None) -> Stored[Cluster]:
        """Set ``deleted_at`` and free the name; the ports stay claimed.  NotFound as for a change."""
        return await self.update_cluster(
            id, lambda cluster: msgspec.structs.replace(cluster, deleted_at=at), note
        )

    async def forget_cluster(self, id: UUID) -> None:
        """Remove the record, its status and its claims; nothing when it is gone already.

        Unavailable while the cache is behind the record: it would not know of all ports that are claimed.
        """
        key = self._keys.cluster(id)
        for node in [node for node in self._reported if node[0] == id]:
            del self._reported[node]
        while (found := await retrying(lambda: self._client.read(key))) is not None:
            if not await self._cache.wait_for_revision(found.mod_revision, cache.SEEN_SECONDS):
                raise Unavailable("the watch on etcd is behind; the cluster is removed later")
            # Claims may outlive what the record names: ports of nodes that were removed from it.
            claims = self._claims(self._tables.decode_cluster(found.value, found.mod_revision).value) | {
                self._keys.port(host, port)
                for host, claimed in self._tables.ports.items()
                for port, owner in claimed.items()
                if owner == id
            }
            removals = [key, *claims]
            outcome = await self._writer.write(
                [etcd_messages.unchanged(key, found.mod_revision)],
                [*map(etcd_messages.delete, removals), etcd_messages.delete_prefix(self._keys.statuses(id))],
            )
            if outcome.revision:
                await self._cache.seen(outcome.revision)
                return

    async def remember(self, cluster: Cluster, note: Note) -> None:
        """Write an audit event about a cluster without changing its record."""
        conditions = [etcd_messages.exists(self._keys.cluster(cluster.id))]
        outcome = await self._writer.write(conditions, self._noted(note, cluster))
        await self._cache.seen(outcome.revision)

    async def report(self, cluster_id: UUID, node_name: str, status: NodeStatus) -> None:
        """Write the status of a node, unless only ``at`` differs or the cluster is forgotten."""
        seen = self.status(cluster_id, node_name)
        # What this process wrote last may not be in the cache yet, which then shows an older status.
        last = self._reported.get((cluster_id, node_name), seen)
        if all(
            one is not None and msgspec.structs.replace(one, at=status.at) == status for one in (seen, last)
        ):
            return
        key = self._keys.status(cluster_id, node_name)
        self._reported[cluster_id, node_name] = status
        await self._put([etcd_messages.exists(self._keys.cluster(cluster_id))], key, status)

    async def announce_host(self, host: Host, ttl: int = 10) -> None:
        """Write the host under a lease; it expires ``ttl`` seconds after this process dies.

        A further call replaces the record; ``ttl`` stays what it was.
        """
        if host.name not in self._announced:
            key = self._keys.host(host.name)
            self._announced[host.name] = LeasedKey(self._client, self._writer, key, ttl)
        await self._cache.seen(await self._announced[host.name].announce(msgspec.json.encode(host)))

    def other_hosts(self) -> list[str]:
        """The hosts that are alive and were announced by other services."""
        return [host.name for host in self.hosts() if host.name not in (self._here, *self._announced)]

    async def add_token(self, sha256_hex: str, token: Token, note: Note | None = None) -> None:
        await self._put([], self._keys.token(sha256_hex), token, note)

    async def revoke_token(self, id: UUID, note: Note | None = None) -> None:
        """Remove a token; NotFound when there is none with this id."""

        def decide() -> Transaction:
            found = [self._keys.token(hash) for hash, token in self._tables.tokens.items() if token.id == id]
            if not found:
                raise NotFound
            return Transaction(
                [*map(etcd_messages.exists, found)],
                [*map(etcd_messages.delete, found), *self._noted(note)],
                refused=lambda _: NotFound(),
            )

        revision = await commit(self._cache, self._writer, decide, folders=[self._keys.tokens])
        await self._cache.seen(revision)

    async def add_metrics_login(self, login: MetricsLogin) -> MetricsLogin:
        """Write the login for metrics, unless there is one; return the one that there is then."""
        key = self._keys.metrics_login
        operations = [etcd_messages.put(key, msgspec.json.encode(login))]
        outcome = await self._writer.write([etcd_messages.missing(key)], operations, look=[key])
        if outcome.revision:
            await self._cache.seen(outcome.revision)
            return login
        return msgspec.json.decode(outcome.found[key].value, type=MetricsLogin)

    async def replace_metrics_login(self, login: MetricsLogin, note: Note | None = None) -> None:
        await self._put([], self._keys.metrics_login, login, note)

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

    async def _confirm(self, key: str) -> bool:
        before = self._cache.versions([key])
        await self._cache.refresh([key])
        return self._cache.versions([key]) != before

    def changes(self) -> Changes:
        """Subscribe to changed clusters, starting with all of them."""
        changes = Changes(self._tables.clusters, self._subscribers.discard)
        self._subscribers.add(changes)
        return changes

    def _update(self, current: Stored[Cluster], value: Cluster, note: Note | None) -> Transaction:
        key = self._keys.cluster(value.id)
        claims = self._claims(value) - self._claims(current.value)
        freed = {self._keys.name(current.value.name)} & self._claims(current.value) - self._claims(value)
        entered = self.groups.of(value) - self.groups.of(current.value)
        return Transaction(
            [
                etcd_messages.unchanged(key, current.revision),
                *map(etcd_messages.missing, claims),
                *map(etcd_messages.exists, entered),
            ],
            [
                etcd_messages.put(key, msgspec.json.encode(value)),
                *self._claim(claims, value),
                *map(etcd_messages.delete, freed),
                *self._noted(note, value),
            ],
            look=[*claims],
            refused=lambda outcome: self._taken(value, outcome),
        )

    async def _put(
        self,
        conditions: list[etcd_messages.Condition],
        key: str,
        record: NodeStatus | Token | MetricsLogin,
        note: Note | None = None,
    ) -> None:
        operations = [etcd_messages.put(key, msgspec.json.encode(record)), *self._noted(note)]
        outcome = await self._writer.write(conditions, operations)
        await self._cache.seen(outcome.revision)

    def _noted(self, note: Note | None, cluster: Cluster | None = None) -> list[etcd_messages.EtcdOperation]:
        return [] if note is None else audit_log.operations(self._keys, self._tables.events, note, cluster)

    def _claims(self, cluster: Cluster) -> set[str]:
        """The keys that belong to this cluster alone: its name until it is deleted, and its nodes' ports."""
        names = {self._keys.name(cluster.name)} if cluster.deleted_at is None else set()
        ports = ((node.host, port) for node in cluster.nodes for port in node.ports)
        return names | {self._keys.port(host, port) for host, port in ports}

    def _claim(self, claims: set[str], cluster: Cluster) -> list[etcd_messages.EtcdOperation]:
        return [etcd_messages.put(claim, str(cluster.id).encode()) for claim in claims]

    def _taken(self, cluster: Cluster, outcome: WriteResult) -> Conflict:
        """Return the error for a claim that another cluster holds."""
        if self._keys.name(cluster.name) in outcome.found:
            return NameTaken("cluster name is not available")
        for node in cluster.nodes:
            ports = frozenset(
                port for port in node.ports if self._keys.port(node.host, port) in outcome.found
            )
            if ports:
                return PortTaken(node.host, ports)
        return Conflict("The project or the network of the cluster was deleted meanwhile; try again.")

    def _notify(self, keys: set[str]) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        if self._subscribers:
            clusters = {id for key in keys if (id := self._tables.cluster_of(key)) is not None}
            for subscriber in self._subscribers:
                subscriber.notify(clusters)
