# Made from _async/backups.py by tools/unasync.py; change that one.

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
        """Return the backups of a cluster, as ``{"backups": [{"created_at": …, "size_gigabytes": …}]}``.

        Raises BusyError while there is none yet, NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/backups``, scope ``database:read``.
        """
        return self._call(
            op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def iter_backups(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Backup]:
        """Go through all backups of a cluster, asking for page after page as they are needed.

        Raises, at the first step, what ``list_backups`` raises.
        """
        return self._iterate(op.LIST_BACKUPS, (database_cluster_uuid,), kwargs, "backups", per_page)
