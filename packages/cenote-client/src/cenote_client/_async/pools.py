"""Connection pools of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _operations as op
from .._pool_uri import pool_uri_of
from .resource import AsyncResource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Unpack

    from .. import types as t


class AsyncPools(AsyncResource):
    """The methods of ``client.databases`` for connection pools."""

    async def list_connection_pools(
        self,
        database_cluster_uuid: str,
        *,
        page: int | None = None,
        per_page: int | None = None,
        **kwargs: Unpack[t.Call],
    ) -> t.PoolListResponse:
        """Return the connection pools of a cluster as ``{"pools": [{…}]}``.

        Raises NotFoundError if the cluster does not exist.

        ``GET /v2/databases/{database_cluster_uuid}/pools``, scope ``database:read``.
        """
        return await self._call(
            op.LIST_CONNECTION_POOLS,
            (database_cluster_uuid,),
            kwargs,
            query={"page": page, "per_page": per_page},
        )

    async def add_connection_pool(
        self, database_cluster_uuid: str, body: t.PoolCreate, **kwargs: Unpack[t.Call]
    ) -> t.PoolResponse:
        """Create a connection pool and return it as ``{"pool": {…}}``, with its connections.

        ``size`` is a number of server connections, of which a cluster has a limited supply for all its pools.
        Without ``user``, each client connects to the server as the user it logs in as.  Raises InvalidError
        for a name in use, an unknown mode, or a size beyond what is left.

        ``POST /v2/databases/{database_cluster_uuid}/pools``, scope ``database:create``.
        """
        return await self._call(op.ADD_CONNECTION_POOL, (database_cluster_uuid,), kwargs, body)

    async def get_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolResponse:
        """Return a connection pool as ``{"pool": {…}}``.

        Raises NotFoundError if the cluster or the pool does not exist, AuthenticationError for an invalid
        token, RateLimitError above the hourly or the burst limit (its ``retry_after`` is in seconds).

        ``GET /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:read``.
        """
        return await self._call(op.GET_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)

    async def update_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, body: t.PoolUpdate, **kwargs: Unpack[t.Call]
    ) -> None:
        """Change the mode, size, database or user of a connection pool; clients stay connected.

        Raises InvalidError for an unknown mode or a size beyond what is left, NotFoundError if the cluster or
        the pool does not exist.

        ``PUT /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:update``.
        """
        return await self._call(op.UPDATE_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs, body)

    async def delete_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> None:
        """Delete a connection pool; its clients are disconnected.

        Raises NotFoundError if the cluster or the pool does not exist.

        ``DELETE /v2/databases/{database_cluster_uuid}/pools/{pool_name}``, scope ``database:delete``.
        """
        return await self._call(op.DELETE_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)

    async def reconnect_connection_pool(
        self, database_cluster_uuid: str, pool_name: str, **kwargs: Unpack[t.Call]
    ) -> t.PoolReconnectResponse:
        """Replace the server connections of a pool; no client is disconnected and no query fails.

        This cures "cached plan must not change result type" after a change of a table.  Returns
        ``{"reconnect": {"pool": …, "connections_left": …}}``: 0 if all were replaced, None if the pooler did
        not tell.  Those left are replaced after the client's transaction, in session mode after the client
        has disconnected.  Cenote only.  Raises NotFoundError if the cluster or the pool does not exist.

        ``POST /v2/databases/{database_cluster_uuid}/pools/{pool_name}/reconnect``, scope ``database:update``.
        """
        return await self._call(op.RECONNECT_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)

    def iter_connection_pools(
        self, database_cluster_uuid: str, *, per_page: int = 200, **kwargs: Unpack[t.Call]
    ) -> AsyncIterator[t.Pool]:
        """Iterate over all connection pools of a cluster; each page is requested when it is needed.

        Iterating raises the errors of ``list_connection_pools``.
        """
        return self._iterate(op.LIST_CONNECTION_POOLS, (database_cluster_uuid,), kwargs, "pools", per_page)

    async def pool_uri(
        self,
        database_cluster_uuid: str,
        pool_name: str,
        *,
        private: bool = False,
        standby: bool = False,
        **kwargs: Unpack[t.Call],
    ) -> str:
        """Return the connection URI of a pool, as psycopg, asyncpg and ``psql`` take it.

        ``private`` selects the host name in the private network, ``standby`` the connection to a standby.
        Raises NotFoundError if the cluster, the pool or the selected connection does not exist.
        """
        response = await self._fetch(op.GET_CONNECTION_POOL, (database_cluster_uuid, pool_name), kwargs)
        return pool_uri_of(response, private=private, standby=standby)
