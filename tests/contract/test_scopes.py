"""Every route has the scopes that it should have, and none is outside of the matrix of tokens and scopes.

``tests/integration/test_api_manners.py`` calls each operation with each scope and each bad token, and takes
what an operation demands from its declaration; here is what that has to be.  Whoever adds a route adds a
line.
"""

from __future__ import annotations

from starlette.routing import Router

from cenote.api.app import OPERATIONS
from cenote.api.auth import VIEW_CREDENTIALS
from cenote.api.middleware import PUBLIC, ApiMiddleware
from tests.support.api import Api, Apis
from tests.support.reference import Operation, Reference

OURS = """
GET /v2/databases/{database_cluster_uuid}/pool_stats                 database:read
GET /v2/databases/{database_cluster_uuid}/pool_stats/stream          database:read
GET /v2/databases/{database_cluster_uuid}/pools/{pool_name}/stats    database:read
POST /v2/databases/{database_cluster_uuid}/backups database:update
POST /v2/databases/{database_cluster_uuid}/backups/drills database:update
POST /v2/databases/{database_cluster_uuid}/move cenote:admin
DELETE /v2/databases/{database_cluster_uuid}/move cenote:admin
GET /v2/databases/{database_cluster_uuid}/recover cenote:admin
POST /v2/databases/{database_cluster_uuid}/recover cenote:admin
POST /v2/databases/{database_cluster_uuid}/switchover database:update
DELETE /v2/databases/{database_cluster_uuid}/switchover database:update
POST /v2/databases/{database_cluster_uuid}/upgrade/rehearsal database:update database:create
POST /v2/databases/{database_cluster_uuid}/online-migration/{migration_id}/finish database:update
PUT /v2/databases/{database_cluster_uuid}/delete_protection database:update
PUT /v2/databases/{database_cluster_uuid}/undelete_days     database:update
POST /v2/databases/{database_cluster_uuid}/pools/{pool_name}/reconnect database:update
GET /v2/databases/{database_cluster_uuid}/pool_history               database:read
GET /v2/databases/{database_cluster_uuid}/pool_advice                database:read
GET /v2/databases/{database_cluster_uuid}/logs                       database:read database:view_credentials
GET /v2/cenote/token
GET /v2/cenote/deleted                                    database:read
POST /v2/cenote/deleted/{deleted_cluster_uuid}/undelete    database:create
DELETE /v2/cenote/deleted/{deleted_cluster_uuid}           database:delete
GET /v2/cenote/activity             database:read
GET /v2/cenote/metrics_targets      database:read
GET /v2/cenote/metrics_ca           database:read
GET /v2/cenote/audit                cenote:admin
GET /v2/cenote/hosts                cenote:admin
DELETE /v2/cenote/hosts/{host_id}          cenote:admin
POST /v2/cenote/hosts/{host_id}/drain      cenote:admin
DELETE /v2/cenote/hosts/{host_id}/drain    cenote:admin
GET /v2/cenote/hosts/tokens                cenote:admin
POST /v2/cenote/hosts/tokens               cenote:admin
DELETE /v2/cenote/hosts/tokens/{host_token_id} cenote:admin
GET /v2/cenote/keys                 cenote:admin
POST /v2/cenote/keys/rotate         cenote:admin
GET /v2/cenote/tokens               cenote:admin
POST /v2/cenote/tokens              cenote:admin
DELETE /v2/cenote/tokens/{token_id} cenote:admin
GET /v2/account                     database:read
GET /v2/tags                        database:read
POST /v2/tags                       database:create
GET /v2/tags/{tag_name}             database:read
DELETE /v2/tags/{tag_name}          database:delete
POST /v2/tags/{tag_name}/resources      database:update
DELETE /v2/tags/{tag_name}/resources    database:update
GET /v2/projects                        database:read
POST /v2/projects                       database:create
GET /v2/projects/{project_id}           database:read
PATCH /v2/projects/{project_id}         database:update
PUT /v2/projects/{project_id}           database:update
DELETE /v2/projects/{project_id}        database:delete
GET /v2/projects/{project_id}/resources     database:read
POST /v2/projects/{project_id}/resources    database:update
GET /v2/vpcs                database:read
POST /v2/vpcs               database:create
GET /v2/vpcs/{vpc_id}       database:read
PUT /v2/vpcs/{vpc_id}       database:update
PATCH /v2/vpcs/{vpc_id}     database:update
GET /v2/vpcs/{vpc_id}/members           database:read
DELETE /v2/vpcs/{vpc_id}    database:delete
"""

# The reference names a scope for them that there is not: "database:write".
MISNAMED = {
    ("PUT", "/v2/databases/{database_cluster_uuid}/schema-registry/config"),
    ("PUT", "/v2/databases/{database_cluster_uuid}/schema-registry/config/{subject_name}"),
}

# Logs hold passwords, so whoever has them sent away has to be somebody who may see them.
STRICTER = {
    ("POST", "/v2/databases/{database_cluster_uuid}/logsink"): VIEW_CREDENTIALS,
    ("PUT", "/v2/databases/{database_cluster_uuid}/logsink/{logsink_id}"): VIEW_CREDENTIALS,
}


def declared() -> dict[Operation, tuple[str, ...]]:
    return {(route.method.value, route.path): route.operation.scopes for route in OPERATIONS}


def ours() -> dict[Operation, tuple[str, ...]]:
    rows = (line.split() for line in OURS.strip().splitlines())
    return {(method, path): tuple(scopes) for method, path, *scopes in rows}


def test_an_operation_of_the_reference_has_the_scopes_that_it_has_there() -> None:
    wanted = Reference().scopes()
    found = declared()
    wrong = {
        one: (scopes, found[one])
        for one, scopes in wanted.items()
        if one in found
        and one not in MISNAMED
        and sorted([*scopes, *({STRICTER[one]} if one in STRICTER else ())]) != sorted(found[one])
    }
    assert wrong == {}


def test_every_other_operation_has_the_scopes_that_stand_here() -> None:
    of_the_reference = Reference().scopes()
    assert {one: scopes for one, scopes in declared().items() if one not in of_the_reference} == ours()


def test_no_route_is_outside_of_the_matrix_but_those_that_are_public(apis: Apis) -> None:
    """Also one that somebody hands to the application by another way than the list of operations."""

    async def scenario(api: Api) -> None:
        gate = api.http._transport.app  # type: ignore[attr-defined]
        assert isinstance(gate, ApiMiddleware)
        app = gate._app
        assert isinstance(app, Router)
        routes = {
            (str(method), getattr(path, "path", "*"))
            for path in app.routes
            for method in getattr(path, "methods", {"*"})
            if method != "HEAD"
        }
        assert {one for one in routes if one[1] not in PUBLIC} == set(declared())

    apis.run(scenario)
