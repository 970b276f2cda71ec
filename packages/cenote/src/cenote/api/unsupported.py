"""Operations of DigitalOcean's API that Cenote does not support; each responds with an error that says so.

Those for other engines are out of scope; those for PostgreSQL are not in this version.  Lists that clients
read on their way, such as that of replicas, are empty instead.
"""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

import msgspec

from cenote import rules
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.call import Call
from cenote.api.errors import ErrorView
from cenote.api.operation import OperationRoute, answer, operation
from cenote.errors import Invalid, NotFound
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

_LATER = """
GET PUT /online-migration migrating from another server
DELETE /online-migration/{migration_id} migrating from another server
POST /replicas adding replicas
"""


class NoReplicasAnswer(msgspec.Struct):
    replicas: list[Any] = []


_EMPTY: dict[str, type[msgspec.Struct]] = {
    "/replicas": NoReplicasAnswer,
}

_REPLICAS = """
GET DELETE /replicas/{replica_name}
PUT /replicas/{replica_name}/promote
"""

_ONE = "/v2/databases/{database_cluster_uuid}"


def _unsupported(method: HTTPMethod, path: str, message: str) -> OperationRoute:
    async def reject(request: Call) -> Response:
        request.cluster()
        raise Invalid(message)

    reject.__doc__ = f"Not supported: {message}"
    return operation(method, path, scope=_SCOPES[method], status=422, answer=ErrorView)(reject)


def _missing(method: HTTPMethod, path: str) -> OperationRoute:
    async def not_found(request: Call) -> Response:
        """Not found: this version has no replicas."""
        raise NotFound

    return operation(method, path, scope=_SCOPES[method], status=404, answer=ErrorView)(not_found)


def _always_empty(path: str, view: type[msgspec.Struct]) -> OperationRoute:
    async def empty(request: Call) -> Response:
        request.cluster()
        return answer(view())

    empty.__doc__ = f"List {path[1:]}; always empty in this version."
    return operation(HTTPMethod.GET, _ONE + path, scope=READ, answer=view)(empty)


def _rows(table: str) -> list[tuple[HTTPMethod, str, str]]:
    """Return method, path and the text after it, for each method of each line."""
    rows: list[tuple[HTTPMethod, str, str]] = []
    for line in table.strip().splitlines():
        before, slash, after = line.partition("/")
        path, _, text = after.partition(" ")
        rows.extend((HTTPMethod(method), slash + path, text) for method in before.split())
    return rows


def _message(text: str) -> str:
    return f"{text} is not supported by this version of Cenote."


ROUTES = (
    *(
        _unsupported(method, _ONE + path, rules.NOT_FOR_THIS_ENGINE)
        for method, path, _ in _rows(_OTHER_ENGINES)
    ),
    *(_unsupported(method, _ONE + path, _message(text)) for method, path, text in _rows(_LATER)),
    *(_missing(method, _ONE + path) for method, path, _ in _rows(_REPLICAS)),
    *(_always_empty(path, view) for path, view in _EMPTY.items()),
)
