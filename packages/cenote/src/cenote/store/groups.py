"""Tags, projects and VPCs: the records that clusters are grouped by.

The group that a cluster is put into must exist at that moment, and one that has clusters is not removed.
The default project and VPCs are there without a record, until they are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from cenote.errors import Conflict
from cenote.model.event_records import Note
from cenote.model.groups import DEFAULT_NETWORKS, DEFAULT_PROJECT, VPC, Group, Project, Tag
from cenote.model.records import Cluster
from cenote.rules import differences
from cenote.store import audit_log, etcd_messages
from cenote.store.cache import WatchCache, folder_of
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.optimistic import Transaction, commit
from cenote.store.tables import Tables
from cenote.store.writer import Writer


class Groups:
    """Queries and changes of groups; ``store.groups``."""

    def __init__(self, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys) -> None:
        self._tables = tables
        self._cache = cache
        self._writer = writer
        self._keys = keys

    def tags(self) -> list[Tag]:
        """The tags that exist without a cluster, by name."""
        self._check_readable()
        return sorted(self._tables.tags.values(), key=lambda tag: tag.name)

    def projects(self) -> list[Project]:
        """All projects but the default one, the oldest first."""
        self._check_readable()
        added = [one for id, one in self._tables.projects.items() if id != DEFAULT_PROJECT.id]
        return sorted(added, key=lambda one: (one.created_at, one.id))

    def default_project(self) -> Project:
        self._check_readable()
        return self._tables.projects.get(DEFAULT_PROJECT.id, DEFAULT_PROJECT)

    def project(self, id: UUID) -> Project | None:
        self._check_readable()
        return self.default_project() if id == DEFAULT_PROJECT.id else self._tables.projects.get(id)

    def networks(self) -> list[VPC]:
        """All networks but the default ones, the oldest first."""
        self._check_readable()
        added = [one for id, one in self._tables.networks.items() if id not in DEFAULT_NETWORKS]
        return sorted(added, key=lambda one: (one.created_at, one.id))

    def default_networks(self) -> list[VPC]:
        """The default network of each region."""
        self._check_readable()
        return [self._tables.networks.get(id, network) for id, network in DEFAULT_NETWORKS.items()]

    def network(self, id: UUID) -> VPC | None:
        self._check_readable()
        return self._tables.networks.get(id, DEFAULT_NETWORKS.get(id))

    def of(self, cluster: Cluster) -> set[str]:
        """The keys of a cluster's project and VPC, unless they are default ones that were never changed."""
        project, network = cluster.project_id, cluster.private_network_id
        return {
            *([self._keys.project(project)] if project in self._tables.projects else []),
            *([self._keys.network(network)] if network in self._tables.networks else []),
        }

    async def put(self, decide: Callable[[], Group | None], note: Note) -> None:
        """Write the group that ``decide`` returns, unless it returns None.

        ``decide`` is called again when groups have been written meanwhile.
        """
        await self._commit(decide, note, self._keys.groups)

    async def remove(self, decide: Callable[[], Group], note: Note) -> None:
        """Remove the group that ``decide`` returns; called again when groups or clusters are written."""
        await self._commit(decide, note, (*self._keys.groups, self._keys.clusters), removing=True)

    async def confirm(self, *, clusters: bool = False) -> bool:
        """Bring the groups to what etcd holds; return whether anything of them was different.

        With ``clusters`` the clusters as well, as their tags are groups, too.
        """
        folders = (*self._keys.groups, self._keys.clusters) if clusters else self._keys.groups
        before = self._cache.versions(folders=folders)
        await self._cache.refresh(folders=folders)
        return self._cache.versions(folders=folders) != before

    async def _commit(
        self,
        decide: Callable[[], Group | None],
        note: Note,
        folders: tuple[str, ...],
        *,
        removing: bool = False,
    ) -> None:
        change = self._removed if removing else self._written

        def decided() -> Transaction | None:
            group = decide()
            if group is None:
                return None
            condition, operation = change(group)
            known = self._known(group)
            exists = [] if known is None else [etcd_messages.exists(self._keys.group(group))]
            known = known or _unchanged_default(group)
            changes = differences.of_group(group, None) if removing else differences.of_group(known, group)
            return Transaction(
                [condition, *exists],
                [operation, *audit_log.operations(self._keys, note, changes)],
                refused=lambda _: Conflict("Others change this all the time; try again."),
            )

        await self._cache.seen(await commit(self._cache, self._writer, decided, folders=folders))

    def _written(self, group: Group) -> tuple[etcd_messages.Condition, etcd_messages.EtcdOperation]:
        key = self._keys.group(group)
        return self._unchanged_since_read(folder_of(key)), etcd_messages.put(key, encode(group))

    def _removed(self, group: Group) -> tuple[etcd_messages.Condition, etcd_messages.EtcdOperation]:
        return self._unchanged_since_read(self._keys.clusters), etcd_messages.delete(self._keys.group(group))

    def _unchanged_since_read(self, folder: str) -> etcd_messages.Condition:
        return etcd_messages.unchanged_since(folder, self._cache.complete_at(folder))

    def _check_readable(self) -> None:
        for folder in self._keys.groups:
            self._tables.check_all_readable(folder)

    def _known(self, group: Group) -> Group | None:
        """Return what is stored of a group."""
        match group:
            case Tag():
                return self._tables.tags.get(group.name)
            case Project():
                return self._tables.projects.get(group.id)
            case VPC():
                return self._tables.networks.get(group.id)


def _unchanged_default(group: Group) -> Group | None:
    """Return what a default project or VPC is before its first change."""
    match group:
        case Project(id=DEFAULT_PROJECT.id):
            return DEFAULT_PROJECT
        case VPC():
            return DEFAULT_NETWORKS.get(group.id)
    return None
