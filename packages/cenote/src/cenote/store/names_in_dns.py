"""The names in the operator's name server, as they are known: ``store.names_in_dns``, for the controller.

A name is noted before the name server is told of it, so that none is left there for ever: what is in no
record of a cluster any more is removed by what stands here.
"""

from __future__ import annotations

from uuid import UUID

from cenote.errors import Unavailable
from cenote.model.fleet_records import HostDomain, NameInDns, NameServerState
from cenote.store import etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.tables import Tables
from cenote.store.writer import Writer


class NamesInDns:
    def __init__(self, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys) -> None:
        self._tables = tables
        self._cache = cache
        self._writer = writer
        self._keys = keys

    def get(self, name: str) -> NameInDns | None:
        return self._tables.names_in_dns.get(name)

    def of(self, cluster_id: UUID) -> dict[str, NameInDns]:
        """The names of a cluster, also of one that is gone."""
        names = self._tables.dns_names_of.get(cluster_id, ())
        return {name: self._tables.names_in_dns[name] for name in sorted(names)}

    def clusters(self) -> set[UUID]:
        """The clusters that have names, also those that are gone."""
        return set(self._tables.dns_names_of)

    def domains(self) -> list[HostDomain]:
        """What hosts were started with, without those that were removed."""
        found = self._tables.host_domains
        return [found[id] for id in sorted(found) if id in self._tables.hosts]

    async def announce(self, host_id: str, own: HostDomain | None) -> None:
        """Say what this host was started with, unless that is known."""
        key = self._keys.host_domain(host_id)
        if self._tables.host_domains.get(host_id) == own:
            return
        operation = etcd_messages.delete(key) if own is None else etcd_messages.put(key, encode(own))
        outcome = await self._writer.write([], [operation])
        await self._cache.seen(outcome.revision)

    @property
    def state(self) -> NameServerState:
        return self._tables.name_server_state or NameServerState()

    async def put(self, name: str, known: NameInDns, condition: etcd_messages.Condition) -> None:
        await self._write([etcd_messages.put(self._keys.name_in_dns(name), encode(known))], condition)

    async def forget(self, name: str, condition: etcd_messages.Condition) -> None:
        await self._write([etcd_messages.delete(self._keys.name_in_dns(name))], condition)

    async def put_state(self, state: NameServerState, condition: etcd_messages.Condition) -> None:
        await self._write([etcd_messages.put(self._keys.name_server_state, encode(state))], condition)

    async def _write(
        self, operations: list[etcd_messages.EtcdOperation], condition: etcd_messages.Condition
    ) -> None:
        outcome = await self._writer.write([condition], operations)
        if not outcome.revision:
            raise Unavailable("this process is no longer the controller")
        await self._cache.seen(outcome.revision)
