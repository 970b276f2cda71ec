"""Operations of the reference that are not done here, each with an answer that says so.

Those of other engines never will be; those for PostgreSQL are not in this version.  Where nothing exists yet,
a read says that truly (no replicas), since clients read these on their way.
"""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

import msgspec

from cenote import rules
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.errors import ErrorView
from cenote.api.service import Call, OperationRoute, answer, operation
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
GET /backups keeping backups
POST /replicas adding replicas
PUT /upgrade upgrading to another major version
"""


class NoReplicasAnswer(msgspec.Struct):
    replicas: list[Any] = []


_NOTHING_YET: dict[str, type[msgspec.Struct]] = {
    "/replicas": NoReplicasAnswer,
}

_NO_SUCH_THING = """
GET DELETE /replicas/{replica_name}
PUT /replicas/{replica_name}/promote
"""

_ONE = "/v2/databases/{database_cluster_uuid}"


def _refusal(method: HTTPMethod, path: str, message: str) -> OperationRoute:
    async def refuse(request: Call) -> Response:
        request.cluster()
        raise Invalid(message)

    refuse.__doc__ = f"Not supported: {message}"
    return operation(method, path, scope=_SCOPES[method], status=422, answer=ErrorView)(refuse)


def _absence(method: HTTPMethod, path: str) -> OperationRoute:
    async def miss(request: Call) -> Response:
        """Find nothing: this version makes no replicas."""
        raise NotFound

    return operation(method, path, scope=_SCOPES[method], status=404, answer=ErrorView)(miss)


def _nothing(path: str, view: type[msgspec.Struct]) -> OperationRoute:
    async def read(request: Call) -> Response:
        request.cluster()
        return answer(view())

    read.__doc__ = f"Answer that there is none: {path[1:]}."
    return operation(HTTPMethod.GET, _ONE + path, scope=READ, answer=view)(read)


def _rows(table: str) -> list[tuple[HTTPMethod, str, str]]:
    """Return method, path and the words after it, for each method of each line."""
    rows: list[tuple[HTTPMethod, str, str]] = []
    for line in table.strip().splitlines():
        before, slash, after = line.partition("/")
        path, _, words = after.partition(" ")
        rows.extend((HTTPMethod(method), slash + path, words) for method in before.split())
    return rows


def _message(words: str) -> str:
    return f"{words} is not supported by this version of Cenote."


ROUTES = (
    *(_refusal(method, _ONE + path, rules.NOT_FOR_THIS_ENGINE) for method, path, _ in _rows(_OTHER_ENGINES)),
    *(_refusal(method, _ONE + path, _message(words)) for method, path, words in _rows(_LATER)),
    *(_absence(method, _ONE + path) for method, path, _ in _rows(_NO_SUCH_THING)),
    *(_nothing(path, view) for path, view in _NOTHING_YET.items()),
)
