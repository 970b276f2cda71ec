"""The CA certificate of a cluster, for clients that verify the server (``sslmode=verify-full``)."""

from __future__ import annotations

from base64 import b64encode
from http import HTTPMethod

import msgspec

from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.http.routing import Response
from cenote.model.records import Cluster


class AuthorityView(msgspec.Struct):
    """The cluster's CA certificate: PEM, encoded in base64."""

    certificate: str


class AuthorityAnswer(msgspec.Struct):
    ca: AuthorityView


@operation(HTTPMethod.GET, "/v2/databases/{database_cluster_uuid}/ca", scope=READ, answer=AuthorityAnswer)
async def get_ca(request: Call) -> Response:
    """Get the CA certificate of a cluster."""
    return answer(AuthorityAnswer(authority_view(request.cluster().value)))


def authority_view(cluster: Cluster) -> AuthorityView:
    return AuthorityView(b64encode(cluster.authority.certificate.encode("ascii")).decode("ascii"))


ROUTES = (get_ca,)
