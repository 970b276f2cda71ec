# Generated from _async/databases.py by tools/unasync.py; edit that file.

"""Databases of a cluster; as in pydo, the methods are just ``list``, ``add``, ``get`` and ``delete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Databases(Resource):
    """The methods of ``client.databases`` for databases."""

    def list(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.DatabaseListResponse:
        """Return the databases of a cluster as ``{"dbs": [{"name": …}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/dbs``, scope ``database:read``.
        """
        return self._call(
            op.LIST, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def add(
        self, database_cluster_uuid: str, body: t.DatabaseCreate, **kwargs: Unpack[t.Call]
    ) -> t.DatabaseResponse:
        """Create a database and return it as ``{"db": {"name": …}}``.

        Raises InvalidError for a name that is in use or not allowed.

        ``POST /v2/databases/{database_cluster_uuid}/dbs``, scope ``database:create``.
        """
        return self._call(op.ADD, (database_cluster_uuid,), kwargs, body)

    def get(
        self, database_cluster_uuid: str, database_name: str, **kwargs: Unpack[t.Call]
    ) -> t.DatabaseResponse:
        """Return a database as ``{"db": {"name": …}}``.

        Raises NotFoundError if the cluster or the database does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/dbs/{database_name}``, scope ``database:read``.
        """
        return self._call(op.GET, (database_cluster_uuid, database_name), kwargs)

    def delete(self, database_cluster_uuid: str, database_name: str, **kwargs: Unpack[t.Call]) -> None:
        """Delete a database with all its data.

        Raises NotFoundError if the cluster or the database does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/dbs/{database_name}``, scope ``database:delete``.
        """
        return self._call(op.DELETE, (database_cluster_uuid, database_name), kwargs)

    def iter_dbs(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Database]:
        """Iterate over all databases of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list``.
        """
        return self._iterate(op.LIST, (database_cluster_uuid,), kwargs, "dbs", per_page)
