# Made from _async/engines.py by tools/unasync.py; change that one.

"""What only one other engine has: eviction (Redis, Valkey), SQL mode (MySQL), indexes (OpenSearch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class Engines(Resource):
    """The operations of ``client.databases`` on engines."""

    def get_eviction_policy(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.EvictionPolicyResponse:
        """Return what a full Redis or Valkey cluster throws away.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/eviction_policy``, scope ``database:read``.
        """
        return self._call(op.GET_EVICTION_POLICY, (database_cluster_uuid,), kwargs)

    def update_eviction_policy(
        self, database_cluster_uuid: str, body: t.EvictionPolicyUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Choose what a full Redis or Valkey cluster throws away.

        Raises InvalidError for a policy that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/eviction_policy``, scope ``database:update``.
        """
        return self._call(op.UPDATE_EVICTION_POLICY, (database_cluster_uuid,), kwargs, body)

    def get_sql_mode(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.SqlMode:
        """Return the global SQL modes of a MySQL cluster, as ``{"sql_mode": "ANSI,…"}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/sql_mode``, scope ``database:read``.
        """
        return self._call(op.GET_SQL_MODE, (database_cluster_uuid,), kwargs)

    def update_sql_mode(self, database_cluster_uuid: str, body: t.SqlMode, **kwargs: Unpack[t.Call]) -> None:
        """Replace the global SQL modes of a MySQL cluster.

        Raises InvalidError for a mode that is none.

        ``PUT /v2/databases/{database_cluster_uuid}/sql_mode``, scope ``database:update``.
        """
        return self._call(op.UPDATE_SQL_MODE, (database_cluster_uuid,), kwargs, body)

    def list_opeasearch_indexes(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.IndexListResponse:
        """Return the indexes of an OpenSearch cluster, as ``{"indexes": [{…}]}``; the name is misspelt in
        pydo too.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/indexes``, scope ``database:read``.
        """
        return self._call(op.LIST_OPEASEARCH_INDEXES, (database_cluster_uuid,), kwargs)

    def delete_opensearch_index(
        self, database_cluster_uuid: str, index_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Remove an index with its documents.

        Raises NotFoundError when the cluster or the index is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}/indexes/{index_name}``, scope ``database:delete``.
        """
        return self._call(op.DELETE_OPENSEARCH_INDEX, (database_cluster_uuid, index_name), kwargs)
