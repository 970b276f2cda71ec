"""Online migration: a continuous copy of another server's databases into a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import AsyncResource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class AsyncOnlineMigration(AsyncResource):
    """The methods of ``client.databases`` for online migration."""

    async def update_online_migration(
        self, database_cluster_uuid: str, body: t.OnlineMigrationStart, **kwargs: Unpack[t.Call]
    ) -> t.OnlineMigration:
        """Start copying another server's databases into this cluster, and replicate changes until stopped.

        Returns ``{"id": …, "status": …, "created_at": …, "cenote": …}``; see ``finish_online_migration``.
        Raises InvalidError if the source cannot be reached or used, ConflictError while another one runs.

        ``PUT /v2/databases/{database_cluster_uuid}/online-migration``, scope ``database:update``.
        """
        return await self._call(op.UPDATE_ONLINE_MIGRATION, (database_cluster_uuid,), kwargs, body)

    async def get_migration_status(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.OnlineMigration:
        """Return the online migration of a cluster as ``{"id": …, "status": …, "created_at": …}``.

        Raises NotFoundError if the cluster does not exist or never had one.

        ``GET /v2/databases/{database_cluster_uuid}/online-migration``, scope ``database:read``.
        """
        return await self._call(op.GET_MIGRATION_STATUS, (database_cluster_uuid,), kwargs)

    async def finish_online_migration(
        self, database_cluster_uuid: str, migration_id: str, **kwargs: Unpack[t.Call]
    ) -> t.OnlineMigration:
        """Finish an online migration that is syncing, once the cluster has all that the source has now.

        An extension of Cenote.  Nothing may write to the source any more.  Raises NotFoundError if the
        cluster or the migration does not exist, BusyError before it is syncing.

        ``POST /v2/databases/{database_cluster_uuid}/online-migration/{migration_id}/finish``, scope
        ``database:update``.
        """
        return await self._call(op.FINISH_ONLINE_MIGRATION, (database_cluster_uuid, migration_id), kwargs)

    async def delete_online_migration(
        self, database_cluster_uuid: str, migration_id: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Stop an online migration; nothing of it stays on the source.

        Once it is syncing, the cluster keeps what it has received; before, what was copied is removed.
        Raises NotFoundError if the cluster or the migration does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/online-migration/{migration_id}``, scope
        ``database:delete``.
        """
        return await self._call(op.DELETE_ONLINE_MIGRATION, (database_cluster_uuid, migration_id), kwargs)

    async def discard_online_migration(
        self, database_cluster_uuid: str, migration_id: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Give up an online migration, and remove what was copied, however far it is.

        An extension of Cenote: ``delete_online_migration`` with ``discard=true``.  Raises NotFoundError if
        the cluster or the migration does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/online-migration/{migration_id}``, scope
        ``database:delete``.
        """
        names, query = (database_cluster_uuid, migration_id), {"discard": "true"}
        return await self._call(op.DELETE_ONLINE_MIGRATION, names, kwargs, query=query)
