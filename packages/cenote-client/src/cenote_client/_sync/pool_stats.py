# Generated from _async/pool_stats.py by tools/unasync.py; edit that file.

"""Statistics of connection pools: current, over time, and recommendations.  Cenote only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class PoolStats(Resource):
    """The methods of ``client.databases`` for statistics of connection pools."""

    def get_pool_stats(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolStatsResponse:
        """Return the current statistics of a pool as ``{"stats": {…}}``; times are in seconds.

        Raises NotFoundError if the cluster or the pool does not exist, ServerError while PgBouncer does not
        respond.

        ``GET /v2/databases/{database_cluster_uuid}/pools/{pool_name}/stats``, scope ``database:read``.
        """
        return self._call(op.GET_POOL_STATS, (database_cluster_uuid, pool_name), kwargs)

    def list_pool_stats(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolStatsListResponse:
        """Return the current statistics of all pools of a cluster as ``{"stats": [{…}]}``; times in seconds.

        Raises NotFoundError if the cluster does not exist, ServerError while PgBouncer does not respond.

        ``GET /v2/databases/{database_cluster_uuid}/pool_stats``, scope ``database:read``.
        """
        return self._call(op.LIST_POOL_STATS, (database_cluster_uuid,), kwargs)

    def get_pool_history(
        self,
        database_cluster_uuid: str,
        *,
        minutes: int | None = None,
        points: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.PoolHistoryResponse:
        """Return past statistics of the pools as ``{"history": {"pools": […], "machine": {…}, …}}``.

        They cover the last ``minutes`` (15, at most 1,440).  Each list is a time series with one value for
        each time in ``at`` (Unix time in seconds), at most ``points`` values.  Raises NotFoundError if the
        cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/pool_history``, scope ``database:read``.
        """
        query = {"minutes": minutes, "points": points}
        return self._call(op.GET_POOL_HISTORY, (database_cluster_uuid,), kwargs, query=query)

    def list_pool_advice(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.PoolAdviceResponse:
        """Return recommendations for the pools of a cluster, most urgent first, as ``{"advice": [{…}]}``.

        Each has the figures that it is based on; there is none before enough has been observed.  Raises
        NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/pool_advice``, scope ``database:read``.
        """
        return self._call(op.LIST_POOL_ADVICE, (database_cluster_uuid,), kwargs)
