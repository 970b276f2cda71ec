"""Databases of a cluster: add, list, get, delete."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api import paging, schema_fields
from cenote.api.auth import CREATE, DELETE, READ
from cenote.api.call import Call, PendingView
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import DatabaseView, database_view
from cenote.errors import NotFound
from cenote.http.routing import Response
from cenote.model.by_sql import NOTHING
from cenote.model.records import Database, RemovalKind
from cenote.rules import replicas, sql_changes

PATH = "/v2/databases/{database_cluster_uuid}/dbs"
ONE = PATH + "/{database_name}"


class DatabaseExtension(Body):
    """An extension of Cenote: the owner of the database, who may create tables in its schema ``public``."""

    owner: schema_fields.AnyUser | None = None


class CreateDatabase(Body):
    name: schema_fields.DatabaseName
    cenote: DatabaseExtension | None = None


class DatabaseAnswer(msgspec.Struct):
    db: DatabaseView
    cenote: PendingView | UnsetType = UNSET


class DatabasesAnswer(msgspec.Struct):
    dbs: list[DatabaseView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, PATH, scope=READ, answer=DatabasesAnswer, paged=True)
async def list_databases(request: Call) -> Response:
    """List the databases of a cluster, with those that were made by SQL."""
    cluster = request.cluster().value
    found = request.service.by_sql(cluster)
    page, links, meta = paging.page_of(request, sql_changes.databases(cluster, found))
    return answer(DatabasesAnswer([database_view(database, found) for database in page], links, meta))


@operation(
    HTTPMethod.POST,
    PATH,
    scope=CREATE,
    status=201,
    body=CreateDatabase,
    answer=DatabaseAnswer,
    also=(412,),
    of_replica=replicas.AT_SOURCE,
)
async def add_database(request: Call) -> Response:
    """Create a database in a cluster; responds when it exists.

    A database that SQL made under this name becomes this one; one that SQL has dropped is created again,
    empty.
    """
    body = await request.decoded(CreateDatabase)
    owner = (body.cenote.owner if body.cenote is not None else None) or ""
    await request.wait_for_name(RemovalKind.DATABASE, body.name)
    report = request.service.report
    changed = await request.change_cluster(
        lambda current: rules.add_database(current, body.name, owner, report(current))
    )
    view = database_view(Database(name=body.name, owner=owner), NOTHING)
    return answer(DatabaseAnswer(view, changed.pending), 201)


@operation(HTTPMethod.GET, ONE, scope=READ, answer=DatabaseAnswer)
async def get_database(request: Call) -> Response:
    """Get a database."""
    cluster = request.cluster().value
    found = request.service.by_sql(cluster)
    database = sql_changes.database(cluster, request.path_params["database_name"], found)
    if database is None:
        raise NotFound
    return answer(DatabaseAnswer(database_view(database, found)))


@operation(HTTPMethod.DELETE, ONE, scope=DELETE, status=204, of_replica=replicas.AT_SOURCE)
async def delete_database(request: Call) -> Response:
    """Delete a database with all its data; sessions, replication slots and subscriptions in it end.

    A database of the same name can be created once the server has dropped this one.
    """
    name = request.path_params["database_name"]
    await request.remove_from_cluster(RemovalKind.DATABASE, name, rules.remove_database)
    return no_content()


ROUTES = (list_databases, add_database, get_database, delete_database)
