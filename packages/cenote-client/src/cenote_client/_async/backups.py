"""What happened to a cluster, and what came from outside: backups, events, online migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import AsyncResource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from .. import types as t


class AsyncBackups(AsyncResource):
    """The operations of ``client.databases`` on history."""

    async def list_backups(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.BackupListResponse:
        """Return the backups of a cluster, as ``{"backups": [{"created_at": …, "size_gigabytes": …}]}``.

        Raises BusyError while there is none yet, NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/backups``, scope ``database:read``.
        """
        return await self._call(
            op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    async def list_events_logs(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.EventListResponse:
        """Return what happened to a cluster, latest first, as ``{"events": [{…}]}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/events``, scope ``database:read``.
        """
        return await self._call(
            op.LIST_EVENTS_LOGS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    async def get_migration_status(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.OnlineMigration:
        """Return the online migration of a cluster, as ``{"id": …, "status": …, "created_at": …}``.

        Raises NotFoundError when the cluster is not there, or has never had one.

        ``GET /v2/databases/{database_cluster_uuid}/online-migration``, scope ``database:read``.
        """
        return await self._call(op.GET_MIGRATION_STATUS, (database_cluster_uuid,), kwargs)

    async def update_online_migration(
        self, database_cluster_uuid: str, body: t.OnlineMigrationStart, **kwargs: Unpack[t.Call]
    ) -> t.OnlineMigration:
        """Begin to copy another server's databases into this cluster, and keep them in step until stopped.

        Raises InvalidError when the source cannot be reached or used, ConflictError while another one runs.

        ``PUT /v2/databases/{database_cluster_uuid}/online-migration``, scope ``database:update``.
        """
        return await self._call(op.UPDATE_ONLINE_MIGRATION, (database_cluster_uuid,), kwargs, body)

    async def delete_online_migration(
        self, database_cluster_uuid: str, migration_id: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Stop an online migration; what was copied stays.

        Raises NotFoundError when the cluster or the migration is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}/online-migration/{migration_id}``, scope
        ``database:delete``.
        """
        return await self._call(op.DELETE_ONLINE_MIGRATION, (database_cluster_uuid, migration_id), kwargs)

    def iter_backups(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> AsyncIterator[t.Backup]:
        """Go through all backups of a cluster, asking for page after page as they are needed.

        Raises, at the first step, what ``list_backups`` raises.
        """
        return self._iterate(op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, "backups", per_page)

    def iter_events(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> AsyncIterator[t.Event]:
        """Go through all that happened to a cluster, asking for page after page as they are needed.

        Raises, at the first step, what ``list_events_logs`` raises.
        """
        return self._iterate(op.LIST_EVENTS_LOGS, (database_cluster_uuid,), kwargs, "events", per_page)
