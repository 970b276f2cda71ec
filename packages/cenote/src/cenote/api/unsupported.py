"""Operations of the reference that are not done here, each with an answer that says so.

Those of other engines never will be; those for PostgreSQL are not in this version.  Where nothing exists yet,
a read says that truly (no replicas), since clients read these on their way.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from cenote import rules
from cenote.api.auth import CREATE, DELETE, READ, UPDATE
from cenote.api.errors import ErrorView
from cenote.api.service import Call, answer, operation
from cenote.errors import Invalid, NotFound

_SCOPES = {
    HttpMethod.GET: READ,
    HttpMethod.POST: CREATE,
    HttpMethod.PUT: UPDATE,
    HttpMethod.PATCH: UPDATE,
    HttpMethod.DELETE: DELETE,
}

_OTHER_ENGINES = """
GET PUT /eviction_policy
GET PUT /sql_mode
GET POST /topics
GET PUT DELETE /topics/{topic_name:str}
GET POST /schema-registry
GET DELETE /schema-registry/{subject_name:str}
GET /schema-registry/{subject_name:str}/versions/{version:str}
GET PUT /schema-registry/config
GET PUT /schema-registry/config/{subject_name:str}
GET /indexes
DELETE /indexes/{index_name:str}
"""

_LATER = """
GET PUT /online-migration migrating from another server
DELETE /online-migration/{migration_id:str} migrating from another server
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
GET DELETE /replicas/{replica_name:str}
PUT /replicas/{replica_name:str}/promote
"""

_ONE = "/v2/databases/{database_cluster_uuid:str}"


def _refusal(method: HttpMethod, path: str, message: str) -> HTTPRouteHandler:
    async def refuse(request: Call) -> ASGIResponse:
        request.cluster()
        raise Invalid(message)

    refuse.__doc__ = f"Not supported: {message}"
    return operation(method, path, scope=_SCOPES[method], status=422, answer=ErrorView)(refuse)


def _absence(method: HttpMethod, path: str) -> HTTPRouteHandler:
    async def miss(request: Call) -> ASGIResponse:
        """Find nothing: this version makes no replicas."""
        raise NotFound

    return operation(method, path, scope=_SCOPES[method], status=404, answer=ErrorView)(miss)


def _nothing(path: str, view: type[msgspec.Struct]) -> HTTPRouteHandler:
    async def read(request: Call) -> ASGIResponse:
        request.cluster()
        return answer(view())

    read.__doc__ = f"Answer that there is none: {path[1:]}."
    return operation(HttpMethod.GET, _ONE + path, scope=READ, answer=view)(read)


def _rows(table: str) -> list[tuple[HttpMethod, str, str]]:
    """Return method, path and the words after it, for each method of each line."""
    rows: list[tuple[HttpMethod, str, str]] = []
    for line in table.strip().splitlines():
        before, slash, after = line.partition("/")
        path, _, words = after.partition(" ")
        rows.extend((HttpMethod(method), slash + path, words) for method in before.split())
    return rows


def _message(words: str) -> str:
    return f"{words} is not supported by this version of Cenote."


ROUTES = (
    *(_refusal(method, _ONE + path, rules.NOT_FOR_THIS_ENGINE) for method, path, _ in _rows(_OTHER_ENGINES)),
    *(_refusal(method, _ONE + path, _message(words)) for method, path, words in _rows(_LATER)),
    *(_absence(method, _ONE + path) for method, path, _ in _rows(_NO_SUCH_THING)),
    *(_nothing(path, view) for path, view in _NOTHING_YET.items()),
)
