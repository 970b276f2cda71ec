"""The login with which the metrics of all clusters are read."""

from __future__ import annotations

import msgspec
from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote import basic
from cenote.api import credentials
from cenote.api.auth import UPDATE, VIEW_CREDENTIALS
from cenote.api.service import Body, Call, answer, no_content, operation
from cenote.domain import MetricsLogin, Secret

PATH = "/v2/databases/metrics/credentials"


class MetricsLoginView(msgspec.Struct):
    """For basic authentication; the same for all clusters."""

    basic_auth_username: str
    basic_auth_password: str


class MetricsLoginAnswer(msgspec.Struct):
    credentials: MetricsLoginView


class MetricsLoginBody(Body):
    basic_auth_username: str
    basic_auth_password: str


class ReplaceMetricsLogin(Body):
    credentials: MetricsLoginBody


@operation(
    HttpMethod.GET, PATH, scope=UPDATE, and_scope=VIEW_CREDENTIALS, answer=MetricsLoginAnswer, also=(503,)
)
async def get_metrics_login(request: Call) -> ASGIResponse:
    """Get the name and the password with which the metrics of every cluster are read.

    They are made when they are first asked for.
    """
    service = request.service
    if service.store.metrics_login() is None:
        await service.store.add_metrics_login(credentials.new_metrics_login(service.sealer))
    login = service.store.metrics_login()
    assert login is not None
    password = service.sealer.open(login.sealed_password).reveal()
    return answer(MetricsLoginAnswer(MetricsLoginView(login.username, password)))


@operation(HttpMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceMetricsLogin)
async def replace_metrics_login(request: Call) -> ASGIResponse:
    """Replace them; what was good before is refused from then on."""
    wanted = (await request.decoded(ReplaceMetricsLogin)).credentials
    basic.check(wanted.basic_auth_username, wanted.basic_auth_password)
    sealed = request.service.sealer.seal(Secret(wanted.basic_auth_password))
    login = MetricsLogin(username=wanted.basic_auth_username, sealed_password=sealed)
    await request.service.store.replace_metrics_login(login, request.note())
    return no_content()


ROUTES = (get_metrics_login, replace_metrics_login)
