"""Operations of DigitalOcean's API for other engines: each responds as the hosted product does."""

from __future__ import annotations

from http import HTTPMethod

from cenote import rules
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.errors import ErrorView
from cenote.api.operation import OperationRoute, operation
from cenote.errors import Invalid
from cenote.http.routing import Response

_SCOPES = {
    HTTPMethod.GET: READ,
    HTTPMethod.POST: CREATE,
    HTTPMethod.PUT: UPDATE,
    HTTPMethod.PATCH: UPDATE,
    HTTPMethod.DELETE: DELETE,
}

_OTHER_ENGINES = """
GET PUT /eviction_policy
GET PUT /sql_mode
GET POST /topics
GET PUT DELETE /topics/{topic_name}
GET POST /schema-registry
GET DELETE /schema-registry/{subject_name}
GET /schema-registry/{subject_name}/versions/{version}
GET PUT /schema-registry/config
GET PUT /schema-registry/config/{subject_name}
GET /indexes
DELETE /indexes/{index_name}
"""

_ONE = "/v2/databases/{database_cluster_uuid}"


def _unsupported(method: HTTPMethod, path: str, message: str) -> OperationRoute:
    async def reject(request: Call) -> Response:
        request.cluster()
        raise Invalid(message)

    reject.__doc__ = f"Not supported: {message}"
    return operation(method, path, scope=_SCOPES[method], status=422, answer=ErrorView)(reject)


def _rows(table: str) -> list[tuple[HTTPMethod, str]]:
    """Return method and path, for each method of each line."""
    rows: list[tuple[HTTPMethod, str]] = []
    for line in table.strip().splitlines():
        methods, slash, path = line.partition("/")
        rows.extend((HTTPMethod(method), slash + path) for method in methods.split())
    return rows


ROUTES = tuple(
    _unsupported(method, _ONE + path, rules.NOT_FOR_THIS_ENGINE) for method, path in _rows(_OTHER_ENGINES)
)
