"""Draining hosts, and removing them from the fleet.

A host that was removed leaves a mark: its agent announces nothing any more, and no node is placed on it.  The
mark and the first node of a host exclude each other, since each is written on the condition that the other is
not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from cenote.errors import Busy, Conflict, NotFound
from cenote.model.event_records import Difference, Note
from cenote.model.fleet_records import Host, HostDrain, RemovedHost
from cenote.model.records import Cluster, Node
from cenote.rules import record_formats
from cenote.rules.host_states import has_part_of, nodes_on
from cenote.store import audit_log, etcd_messages, history, members
from cenote.store.cache import WatchCache
from cenote.store.client import EtcdClient
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.optimistic import Decide, Transaction, commit
from cenote.store.retry import retrying
from cenote.store.tables import Stored, Tables
from cenote.store.writer import Writer

IN_USE, DRAINING, LOST = "in use", "draining", "lost"
_NAMED = 5  # clusters in a message
_PAGE = 200


class HostChanges:
    """Changes of what is said of hosts by others than themselves; ``store.host_changes``."""

    def __init__(
        self, client: EtcdClient, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys
    ) -> None:
        self._client, self._tables, self._cache = client, tables, cache
        self._writer, self._keys = writer, keys

    async def drain(self, id: str, at: datetime, note: Note) -> None:
        """Have a host take no new nodes and give away those that it has; nothing if that is so already.

        Busy while a host of the fleet runs a version that knows no moves.
        """

        def decide() -> Transaction | None:
            host = self._known(id)
            if id in self._tables.drains:
                return None
            record_formats.check_readers(self._tables.hosts.values())
            drain = HostDrain(asked_at=at, nodes=nodes_on(id, self._clusters()))
            change = Difference(what=f"host {host.name}", before=IN_USE, after=DRAINING)
            return self._marked(id, etcd_messages.put(self._keys.drain(id), encode(drain)), note, change)

        await self._commit(decide, [self._keys.host(id), self._keys.drain(id)])

    async def undrain(self, id: str, note: Note) -> None:
        """Have a host take nodes again; nothing if it does."""

        def decide() -> Transaction | None:
            host = self._known(id)
            if id not in self._tables.drains:
                return None
            change = Difference(what=f"host {host.name}", before=DRAINING, after=IN_USE)
            return self._marked(id, etcd_messages.delete(self._keys.drain(id)), note, change)

        await self._commit(decide, [self._keys.host(id), self._keys.drain(id)])

    async def remove(self, id: str, at: datetime, note: Note) -> None:
        """Remove a host on which nothing is; Busy, with what is there, else.  NotFound for an unknown one."""
        if id not in self._tables.removed:
            await self._check_may_leave(id)

        def decide() -> Transaction:
            host = self._known(id)
            self._check_empty(host)
            change = Difference(what=f"host {host.name}", before=host.address)
            return Transaction(
                [
                    etcd_messages.exists(self._keys.host(id)),
                    etcd_messages.none_below(self._keys.ports_of(id)),
                ],
                [
                    *self._marking(id, RemovedHost(name=host.name, at=at)),
                    *self._cleaning(id),
                    *audit_log.operations(self._keys, note, (change,)),
                ],
                refused=lambda _: Busy(f"{host.name} was given a cluster meanwhile; drain it first."),
            )

        await self._commit(decide, [self._keys.host(id)], [self._keys.ports_of(id), self._keys.clusters])
        await self._forget_name(id)

    async def _check_may_leave(self, id: str) -> None:
        """Raise Busy while the store needs the etcd of a host; one of the operator's own needs none."""
        if self._client.is_ours:
            found = await self._writer.patiently(lambda: members.listed(self._client))
            members.check_may_leave(found, id, self._tables.name_of(id), self._tables.admitted)

    async def remove_unstarted(self, id: str, at: datetime, note: Note) -> None:
        """Remove a host that was admitted and has never said anything of itself; NotFound for any other.

        Conflict when it has done so meanwhile.
        """

        def decide() -> Transaction:
            host = self._tables.admitted.get(id)
            if host is None or id in self._tables.hosts:
                raise NotFound
            change = Difference(what=f"host {host.name}", before=f"{host.address}, not started yet")
            return Transaction(
                [
                    etcd_messages.exists(self._keys.admitted(id)),
                    etcd_messages.missing(self._keys.host(id)),
                    etcd_messages.missing(self._keys.presence(id)),
                ],
                [
                    *self._marking(id, RemovedHost(name=host.name, at=at)),
                    *self._cleaning(id),
                    *audit_log.operations(self._keys, note, (change,)),
                ],
                refused=lambda _: Conflict(f"{host.name} has started meanwhile; try again."),
            )

        await self._commit(decide, [self._keys.admitted(id), self._keys.host(id), self._keys.presence(id)])
        await self._forget_name(id)

    async def remove_lost(self, id: str, at: datetime, note: Note) -> None:
        """Remove a host that is gone for good, with the nodes that were on it.

        Their clusters' records stay.  Repeated, it goes on where it was interrupted.  Conflict when the
        host's agent is there after all, Busy while another host runs a version that knows no lost nodes.
        """
        host = self._tables.hosts.get(id)
        if id not in self._tables.removed:
            await self._check_may_leave(id)

        def decide() -> Transaction | None:
            host = self._known(id)
            if id in self._tables.removed:
                return None
            clusters = self._clusters()
            nodes = nodes_on(id, clusters)
            if any(has_part_of(one, id) for one in clusters):
                record_formats.check_readers(one for one in self._tables.hosts.values() if one.id != id)
            change = Difference(what=f"host {host.name}", before=f"{host.address}, {LOST}, nodes: {nodes}")
            return Transaction(
                [
                    etcd_messages.exists(self._keys.host(id)),
                    etcd_messages.missing(self._keys.presence(id)),
                    etcd_messages.missing(self._keys.removed_host(id)),
                ],
                [
                    *self._marking(id, RemovedHost(name=host.name, at=at, lost=True)),
                    *audit_log.operations(self._keys, note, (change,)),
                ],
                refused=lambda _: Conflict(f"{host.name} is back; drain it instead."),
            )

        keys = [self._keys.host(id), self._keys.presence(id), self._keys.removed_host(id)]
        await self._commit(decide, keys, [self._keys.clusters])
        removed = self._tables.removed.get(id)
        name, since = (host.name if host else id, at) if removed is None else (removed.name, removed.at)
        for cluster_id in [one.id for one in self._clusters() if has_part_of(one, id)]:
            await self._lose(cluster_id, id, since, replace(note, what=f"lost its node with the host {name}"))
        await self._forget_name(id)
        await self._write(self._cleaning(id))

    async def _lose(self, cluster_id: UUID, host_id: str, at: datetime, note: Note) -> None:
        """Note in a cluster's record that its nodes on a host are lost, and free what they had there."""

        def decide() -> Transaction | None:
            stored = self._tables.clusters.get(cluster_id)
            if stored is None or without_host(stored.value, host_id, at) is stored.value:
                return None
            return self._losing(stored, host_id, at, note)

        await self._commit(decide, [self._keys.cluster(cluster_id)])

    def _losing(self, stored: Stored[Cluster], host_id: str, at: datetime, note: Note) -> Transaction:
        before, after = stored.value, without_host(stored.value, host_id, at)
        key, claimed = self._keys.cluster(before.id), self._tables.ports.get(host_id, {})
        return Transaction(
            [etcd_messages.unchanged(key, stored.revision)],
            [
                etcd_messages.put(key, encode(after)),
                *(
                    etcd_messages.delete(self._keys.port(host_id, port))
                    for port, owner in claimed.items()
                    if owner == before.id
                ),
                etcd_messages.delete_prefix(self._keys.reports(host_id, before.id)),
                etcd_messages.delete(self._keys.request(host_id, before.id)),
                etcd_messages.delete(self._keys.certificate(host_id, before.id)),
                *audit_log.of_change(self._keys, note, before, after, self._tables.name_of),
                history.operation(self._keys, before, stored.revision),
            ],
            refused=lambda _: Conflict("Others change this all the time; try again."),
        )

    def _known(self, id: str) -> Host:
        host = self._tables.hosts.get(id)
        if host is None:
            raise NotFound
        return host

    def _clusters(self) -> list[Cluster]:
        self._tables.check_all_readable(self._keys.clusters)
        return [stored.value for stored in self._tables.clusters.values()]

    def _check_empty(self, host: Host) -> None:
        there = [one for one in self._clusters() if nodes_on(host.id, [one])]
        if there:
            raise Busy(still_there(host.name, there))
        kept = sorted(one.name for one in self._clusters() if has_part_of(one, host.id))
        if kept:
            raise Busy(
                f"{host.name} has the data of deleted clusters that can be undeleted: "
                f"{', '.join(kept[:_NAMED])}{', …' * (len(kept) > _NAMED)}. Undelete or purge them first; "
                "'cenote cluster deleted' lists them."
            )
        if self._tables.ports.get(host.id):
            raise Busy(f"Ports of {host.name} are still claimed; try again when its clusters are removed.")

    def _marked(
        self, id: str, operation: etcd_messages.EtcdOperation, note: Note, change: Difference
    ) -> Transaction:
        return Transaction(
            [etcd_messages.exists(self._keys.host(id))],
            [operation, *audit_log.operations(self._keys, note, (change,))],
            refused=lambda _: NotFound(),
        )

    def _marking(self, id: str, removed: RemovedHost) -> list[etcd_messages.EtcdOperation]:
        """Return what ends a host's part in the fleet, at once."""
        gone = (
            self._keys.admitted(id),
            self._keys.host_request(id),
            self._keys.host_certificate(id),
            self._keys.key_recipient(id),
            self._keys.key_errand(id),
            self._keys.host_domain(id),
            self._keys.drain(id),
            self._keys.presence(id),
        )
        return [
            etcd_messages.put(self._keys.removed_host(id), encode(removed)),
            *map(etcd_messages.delete, gone),
        ]

    def _cleaning(self, id: str) -> list[etcd_messages.EtcdOperation]:
        """Return what removes all that stands below a host's id."""
        folders = (
            self._keys.ports_of(id),
            self._keys.reports_of(id),
            self._keys.requests_of(id),
            self._keys.certificates_of(id),
        )
        return [etcd_messages.delete(self._keys.host(id)), *map(etcd_messages.delete_prefix, folders)]

    async def _forget_name(self, id: str) -> None:
        """Free the names that a host has claimed."""
        keys = self._keys

        async def read() -> list[str]:
            return [
                found.key.decode()
                async for page in self._client.pages(keys.host_names, _PAGE)
                for found in page.found
                if found.value == id.encode()
            ]

        await self._write([etcd_messages.delete(name) for name in await retrying(read)])

    async def _write(self, operations: list[etcd_messages.EtcdOperation]) -> None:
        if operations:
            await self._cache.seen((await self._writer.write([], operations)).revision)

    async def _commit(self, decide: Decide, keys: Iterable[str], folders: Iterable[str] = ()) -> None:
        revision = await commit(self._cache, self._writer, decide, keys=keys, folders=folders)
        await self._cache.seen(revision)


def without_host(cluster: Cluster, host_id: str, at: datetime) -> Cluster:
    """Return a cluster whose nodes on a host are lost; the same one if there is nothing to change.

    A node that was moved away is simply gone, and so is one that a move has not brought further than copying,
    or has left behind.
    """
    nodes = tuple(_lost(node, host_id, at) for node in cluster.nodes)
    left = tuple(node for node in cluster.left if node.host != host_id)
    move = cluster.move
    if move is not None:
        lost = {node.name for node in nodes if node.lost_at is not None}
        others = {move.source, move.target} - {move.writer}
        if lost & others:  # the node that writes is there: the cluster is what that one has
            nodes, move = tuple(node for node in nodes if node.name not in others), None
    if (nodes, left) == (cluster.nodes, cluster.left):
        return cluster
    return replace(cluster, nodes=nodes, left=left, move=move)


def _lost(node: Node, host_id: str, at: datetime) -> Node:
    return replace(node, lost_at=at) if node.host == host_id and node.lost_at is None else node


def still_there(name: str, clusters: Iterable[Cluster]) -> str:
    """Return why a host with clusters cannot be removed, with the way out."""
    living = sorted(one.name for one in clusters if one.deleted_at is None)
    going = sum(one.deleted_at is not None for one in clusters)
    more = [f"and {len(living) - _NAMED} more"] if len(living) > _NAMED else []
    told = [f"the cluster{'s' * (len(living) > 1)} {', '.join([*living[:_NAMED], *more])}"] if living else []
    told += [f"{going} cluster{'s' * (going > 1)} being deleted"] if going else []
    return f"{name} still has {' and '.join(told)}. Drain the host first, and remove it when nothing is left."
