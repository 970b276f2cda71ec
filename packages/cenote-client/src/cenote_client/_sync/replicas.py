# Generated from _async/replicas.py by tools/unasync.py; edit that file.

"""Read-only replicas of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Replicas(Resource):
    """The methods of ``client.databases`` for replicas."""

    def list_replicas(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.ReplicaListResponse:
        """Return the read-only replicas of a cluster as ``{"replicas": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/replicas``, scope ``database:read``.
        """
        return self._call(
            op.LIST_REPLICAS, (database_cluster_uuid,), kwargs, query={"page": page, "per_page": per_page}
        )

    def create_replica(
        self, database_cluster_uuid: str, body: t.ReplicaCreate | None = None, **kwargs: Unpack[t.Call]
    ) -> t.ReplicaResponse:
        """Create a read-only replica and return it as ``{"replica": {…}}``, before its status is ``online``.

        Raises BusyError while the cluster is not online, InvalidError for a name in use or a size that is
        smaller than the cluster's.

        ``POST /v2/databases/{database_cluster_uuid}/replicas``, scope ``database:create``.
        """
        return self._call(op.CREATE_REPLICA, (database_cluster_uuid,), kwargs, body)

    def get_replica(
        self, database_cluster_uuid: str, replica_name: str, **kwargs: Unpack[t.Call]
    ) -> t.ReplicaResponse:
        """Return a read-only replica as ``{"replica": {…}}``.

        Raises NotFoundError if the cluster or the replica does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/replicas/{replica_name}``, scope ``database:read``.
        """
        return self._call(op.GET_REPLICA, (database_cluster_uuid, replica_name), kwargs)

    def destroy_replica(
        self, database_cluster_uuid: str, replica_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Delete a read-only replica with its pools; its cluster goes on.

        Raises NotFoundError if the cluster or the replica does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/replicas/{replica_name}``, scope ``database:delete``.
        """
        return self._call(op.DESTROY_REPLICA, (database_cluster_uuid, replica_name), kwargs)

    def promote_replica(
        self, database_cluster_uuid: str, replica_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Promote a replica to an independent cluster that accepts writes; replication to it ends.

        It keeps its id.  One that is still being made is promoted once it has all data; it is a cluster when
        ``get_replica`` raises NotFoundError.
        Raises NotFoundError if the cluster or the replica does not exist.

        ``PUT /v2/databases/{database_cluster_uuid}/replicas/{replica_name}/promote``, scope
        ``database:update``.
        """
        return self._call(op.PROMOTE_REPLICA, (database_cluster_uuid, replica_name), kwargs)

    def iter_replicas(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Replica]:
        """Iterate over all read-only replicas of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list_replicas``.
        """
        return self._iterate(op.LIST_REPLICAS, (database_cluster_uuid,), kwargs, "replicas", per_page)
