"""Connection pools: add, list, get, update, delete.

A change responds when PgBouncer has applied it, so the connection URI in the response works.
"""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api import paging, schema_fields
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call, PendingView
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import PoolView, pool_view
from cenote.errors import NotFound
from cenote.http.routing import Response
from cenote.model.records import Cluster, Pool, RemovalKind

PATH = "/v2/databases/{database_cluster_uuid}/pools"
ONE = PATH + "/{pool_name}"


class CreatePool(Body):
    """Without ``user``, or if it is empty, clients connect to the database as the user they log in as."""

    name: schema_fields.PoolName
    mode: schema_fields.Mode
    size: schema_fields.PoolSize
    db: schema_fields.AnyDatabase
    user: schema_fields.AnyUser | None = None


class UpdatePool(Body):
    """An omitted ``user`` is unchanged; an empty one is removed."""

    mode: schema_fields.Mode
    size: schema_fields.PoolSize
    db: schema_fields.AnyDatabase
    user: schema_fields.AnyUser | None = None


class PoolAnswer(msgspec.Struct):
    pool: PoolView
    cenote: PendingView | UnsetType = UNSET


class PoolsAnswer(msgspec.Struct):
    pools: list[PoolView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=PoolsAnswer, paged=True)
async def list_pools(request: Call) -> Response:
    """List the connection pools of a cluster."""
    cluster = request.cluster().value
    page, links, meta = paging.page_of(request, cluster.pools)
    sees = request.caller.sees_credentials
    views = [pool_view(request.service, cluster, pool, credentials=sees) for pool in page]
    return answer(PoolsAnswer(views, links, meta))


@operation(HTTPMethod.POST, PATH, scope=CREATE, status=201, body=CreatePool, answer=PoolAnswer)
async def add_pool(request: Call) -> Response:
    """Create a connection pool; responds when it is ready."""
    body = await request.decoded(CreatePool)
    request.cluster()  # 404 takes precedence over an invalid pool
    pool = Pool(
        name=body.name,
        database=body.db,
        size=body.size,
        mode=rules.pool_mode(body.mode),
        user=body.user or "",
    )
    await _look_for(request, body.db, body.user)
    report = request.service.report
    changed = await request.change_cluster(lambda current: rules.add_pool(current, pool, report(current)))
    view = pool_view(request.service, changed.cluster, pool, credentials=request.caller.sees_credentials)
    return answer(PoolAnswer(view, changed.pending), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=PoolAnswer)
async def get_pool(request: Call) -> Response:
    """Get a connection pool."""
    cluster = request.cluster().value
    pool = pool_of(cluster, request.path_params["pool_name"])
    view = pool_view(request.service, cluster, pool, credentials=request.caller.sees_credentials)
    return answer(PoolAnswer(view))


@operation(HTTPMethod.PUT, ONE, scope=UPDATE, status=204, body=UpdatePool)
async def update_pool(request: Call) -> Response:
    """Change a connection pool; clients of other pools are not affected."""
    name = request.path_params["pool_name"]
    cluster = request.cluster().value
    pool_of(cluster, name)
    body = await request.decoded(UpdatePool)
    mode = rules.pool_mode(body.mode)
    await _look_for(request, body.db, body.user)
    report = request.service.report
    await request.change_cluster(
        lambda current: rules.change_pool(
            current,
            name,
            size=body.size,
            mode=mode,
            database=body.db,
            user=body.user,
            seen=report(current),
        ),
    )
    return no_content()


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204)
async def delete_pool(request: Call) -> Response:
    """Delete a connection pool."""
    name = request.path_params["pool_name"]
    await request.change_cluster(lambda current: rules.remove_pool(current, name))
    return no_content()


async def _look_for(request: Call, database: str, user: str | None) -> None:
    cluster = request.cluster().value
    await request.service.look_for(cluster, RemovalKind.DATABASE, database)
    if user:
        await request.service.look_for(cluster, RemovalKind.USER, user)


def pool_of(cluster: Cluster, name: str) -> Pool:
    pool = cluster.pool(name)
    if pool is None:
        raise NotFound
    return pool


ROUTES = (list_pools, add_pool, get_pool, update_pool, delete_pool)
