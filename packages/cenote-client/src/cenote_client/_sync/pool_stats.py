# Made from _async/pool_stats.py by tools/unasync.py; change that one.

"""What went on in the pools of a cluster, and what to do about it: additions of Cenote's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from typing import Unpack

    from .. import types as t


class PoolStats(Resource):
    """The operations of ``client.databases`` on the past of pools."""

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
