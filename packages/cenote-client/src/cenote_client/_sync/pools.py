# Made from _async/pools.py by tools/unasync.py; change that one.

"""Connection pools of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .._pool_uri import pool_uri_of
from .resource import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from .. import types as t


class Pools(Resource):
    """The methods of ``client.databases`` for connection pools."""

    def list_connection_pools(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.PoolListResponse:
        """Return the connection pools of a cluster, as ``{"pools": [{…}]}``.

        Raises NotFoundError when the cluster is not there.

        ``GET /v2/databases/{database_cluster_uuid}/pools``, scope ``database:read``.
        """
        return self._call(
            op.LIST_CONNECTION_POOLS,
            (database_cluster_uuid,),
            kwargs,
            query={"page": page, "per_page": per_page},
        )

    def add_connection_pool(
        self, database_cluster_uuid: str, body: t.PoolCreate, **kwargs: Unpack[t.Call]
    ) -> t.PoolResponse:
        """Create a connection pool, and return it as ``{"pool": {…}}`` with its connections.

        ``size`` counts connections to the server, which all pools of a cluster share.  Without a ``user``
        everyone comes as themselves.  Raises InvalidError for a name that is taken, a mode that is none, or a
        size that does not fit.

        ``POST /v2/databases/{database_cluster_uuid}/pools``, scope ``database:create``.
        """
        return self._call(op.ADD_CONNECTION_POOL, (database_cluster_uuid,), kwargs, body)

    def get_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolResponse:
        """Return one connection pool, as ``{"pool": {…}}``.

        Raises NotFoundError when the cluster or the pool is not there, AuthenticationError for a bad token,
        RateLimitError when the hourly or the burst limit is spent (its ``retry_after`` is in seconds).

        ``GET /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:read``.
        """
        return self._call(op.GET_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)

    def update_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, body: t.PoolUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Change the mode, the size, the database or the user of a connection pool; clients stay connected.

        Raises InvalidError for a mode that is none or a size that does not fit, NotFoundError when the pool
        is not there.

        ``PUT /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:update``.
        """
        return self._call(op.UPDATE_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs, body)

    def delete_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Remove a connection pool; its clients lose their connections.

        Raises NotFoundError when the cluster or the pool is not there.

        ``DELETE /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:delete``.
        """
        return self._call(op.DELETE_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)

    def iter_connection_pools(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> Iterator[t.Pool]:
        """Go through all connection pools of a cluster, asking for page after page as they are needed.

        Raises, at the first step, what ``list_connection_pools`` raises.
        """
        return self._iterate(op.LIST_CONNECTION_POOLS, (database_cluster_uuid,), kwargs, "pools", per_page)

    def pool_uri(
        self,
        database_cluster_uuid: str,
        pool_name: str,
        *,
        private: bool = False,
        standby: bool = False,
        **kwargs: Unpack[t.Call],
    ) -> str:
        """Return the URI that connects through a pool, ready for psycopg, asyncpg or ``psql``.

        ``private`` gives the address within the private network, ``standby`` the one for reading from a
        standby; NotFoundError when the cluster or the pool is not there, or the pool has no such connection.
        """
        answer = self._fetch(op.GET_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)
        return pool_uri_of(answer, private=private, standby=standby)
