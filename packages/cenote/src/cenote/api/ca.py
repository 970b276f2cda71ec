"""The certificate of a cluster's own authority, for clients that verify whom they talk to."""

from __future__ import annotations

import msgspec
from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.api.auth import READ
from cenote.api.service import Call, answer, operation
from cenote.api.views import AuthorityView, authority_view


class AuthorityAnswer(msgspec.Struct):
    ca: AuthorityView


@operation(HttpMethod.GET, "/v2/databases/{database_cluster_uuid:str}/ca", scope=READ, answer=AuthorityAnswer)
async def get_ca(request: Call) -> ASGIResponse:
    """Get the CA certificate of a cluster."""
    return answer(AuthorityAnswer(authority_view(request.cluster().value)))


ROUTES = (get_ca,)
