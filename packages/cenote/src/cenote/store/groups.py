"""The records of what clusters are put into: tags, projects and networks."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec

from cenote.errors import Conflict
from cenote.model.groups import VPC, Group, Project, Tag
from cenote.model.records import Cluster, Note
from cenote.store import audit_log, etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.tables import Keys, Tables
from cenote.store.writer import Writer

ATTEMPTS = 50
SEEN_SECONDS = 10.0  # how long a write that happened waits until the memory has it


class Groups:
    """A group that a cluster is put into must exist then, and one that has clusters is not removed."""

    def __init__(self, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys) -> None:
        self._tables = tables
        self._cache = cache
        self._writer = writer
        self._keys = keys

    def tags(self) -> list[Tag]:
        """The tags that stay when no cluster has them, by name."""
        return sorted(self._tables.tags.values(), key=lambda tag: tag.name)

    def projects(self) -> list[Project]:
        """All projects but the default one, the oldest first."""
        return sorted(self._tables.projects.values(), key=lambda one: (one.created_at, one.id))

    def project(self, id: UUID) -> Project | None:
        return self._tables.projects.get(id)

    def networks(self) -> list[VPC]:
        """All networks but the default ones, the oldest first."""
        return sorted(self._tables.networks.values(), key=lambda one: (one.created_at, one.id))

    def network(self, id: UUID) -> VPC | None:
        return self._tables.networks.get(id)

    def of(self, cluster: Cluster) -> set[str]:
        """The keys of the project and the network that a cluster is in, as far as those are records."""
        project, network = cluster.project_id, cluster.private_network_id
        return {
            *([self._keys.project(project)] if project in self._tables.projects else []),
            *([self._keys.network(network)] if network in self._tables.networks else []),
        }

    async def put(self, decide: Callable[[], Group], note: Note) -> None:
        """Write what ``decide`` returns; it is called again when another of the kind was put meanwhile."""
        await self._write(decide, note, removes=False)

    async def remove(self, decide: Callable[[], Group], note: Note) -> None:
        """Remove what ``decide`` returns; it is called again when a cluster was put meanwhile."""
        await self._write(decide, note, removes=True)

    async def _write(self, decide: Callable[[], Group], note: Note, *, removes: bool) -> None:
        for _ in range(ATTEMPTS):
            revision = self._cache.revision
            group = decide()
            key = self._keys.group(group)
            if removes:
                conditions, operation = (
                    [etcd_messages.quiet(self._keys.clusters, revision)],
                    etcd_messages.delete(key),
                )
            else:
                conditions = [etcd_messages.quiet(key.rpartition("/")[0] + "/", revision)]
                conditions += [etcd_messages.exists(key)] if self._is_known(group) else []
                operation = etcd_messages.put(key, msgspec.json.encode(group))
            noted = audit_log.noted(self._keys, self._tables.events, note, None)
            outcome = await self._writer.write(conditions, [operation, *noted])
            done = outcome.revision
            await self._cache.wait_for_revision(done or revision + 1, SEEN_SECONDS)
            if done:
                return
        raise Conflict("Others change this all the time; try again.")

    def _is_known(self, group: Group) -> bool:
        match group:
            case Tag():
                return group.name in self._tables.tags
            case Project():
                return group.id in self._tables.projects
            case VPC():
                return group.id in self._tables.networks
