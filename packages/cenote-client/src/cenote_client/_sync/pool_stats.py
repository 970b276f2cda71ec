# Made from _async/pool_stats.py by tools/unasync.py; change that one.

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
        """Return what goes on in a pool at this moment, as ``{"stats": {…}}``: an addition of Cenote's.

        Raises NotFoundError when the cluster or the pool is not there, ServerError while the pooler does not
        answer.

        ``GET /v2/databases/{database_cluster_uuid}/pools/{pool_name}/stats``, scope ``database:read``.
        """
        return self._call(op.GET_POOL_STATS, (database_cluster_uuid, pool_name), kwargs)

    def list_pool_stats(
        self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolStatsListResponse:
        """Return what goes on in all pools of a cluster at this moment, as ``{"stats": [{…}]}``.

        An addition of Cenote's.  Raises NotFoundError when the cluster is not there, ServerError while the
        pooler does not answer.

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
        """Return what went on in the pools of a cluster, as ``{"history": {"pools": […], "machine": {…}}}``.

        It goes ``minutes`` back (15, up to 1,440); each list has a number for each time in ``at``, in seconds
        of the Unix epoch, and no more than ``points`` of them.  Raises NotFoundError when the cluster
        is not there.

        ``GET /v2/databases/{database_cluster_uuid}/pool_history``, scope ``database:read``.
        """
        query = {"minutes": minutes, "points": points}
        return self._call(op.GET_POOL_HISTORY, (database_cluster_uuid,), kwargs, query=query)

    def list_pool_advice(self, database_cluster_uuid: str, **kwargs: Unpack[t.Call]) -> t.PoolAdviceResponse:
        """Return what could be done about the pools of a cluster, as ``{"advice": [{…}]}``.

        The most pressing comes first, each with the numbers that it rests on; nothing is said of what was
        seen for too short a time.  Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/pool_advice``, scope ``database:read``.
        """
        return self._call(op.LIST_POOL_ADVICE, (database_cluster_uuid,), kwargs)
