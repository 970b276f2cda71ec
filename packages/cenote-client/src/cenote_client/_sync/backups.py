# Generated from _async/backups.py by tools/unasync.py; edit that file.

"""Backups of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Backups(Resource):
    """The methods of ``client.databases`` for backups."""

    def list_backups(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.BackupListResponse:
        """Return the backups of a cluster as ``{"backups": [{"created_at": …, "size_gigabytes": …}]}``.

        ``cenote`` has what can be restored.  Raises BusyError before the first backup, InvalidError if the
        service keeps none, NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/backups``, scope ``database:read``.
        """
        return self._call(
            op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def create_backup(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.BackupAskedResponse:
        """Have a cluster backed up now, beside the schedule; return ``{"backup": {"asked_at": …}}``.

        It is made when its turn comes; ``list_backups`` has it then.  Raises InvalidError if the service
        keeps no backups, NotFoundError if the cluster does not exist.

        ``POST /v2/databases/{database_cluster_uuid}/backups``, scope ``database:update``.
        """
        return self._call(op.CREATE_BACKUP, (database_cluster_uuid,), kwargs)

    def create_drill(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.DrillAskedResponse:
        """Have a cluster's newest backup restored aside and checked; return ``{"drill": {"asked_at": …}}``.

        ``list_backups`` has what it finds, at ``cenote.drill``.  Raises BusyError before the first backup,
        InvalidError if the service keeps no backups, NotFoundError if the cluster does not exist.

        ``POST /v2/databases/{database_cluster_uuid}/backups/drills``, scope ``database:update``.
        """
        return self._call(op.CREATE_DRILL, (database_cluster_uuid,), kwargs)

    def iter_backups(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Backup]:
        """Iterate over all backups of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list_backups``.
        """
        return self._iterate(op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, "backups", per_page)
