"""Custom DNS names (CNAMEs) of a cluster, which are added to its server certificate."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.views import DoSettingsView, do_settings_view
from cenote.http.routing import Response

PATH = "/v2/databases/{database_cluster_uuid}/do_settings"


class DoSettings(Body):
    """Without ``service_cnames`` the cluster has no custom names."""

    service_cnames: schema_fields.HostNames | None = None


class ReplaceDoSettings(Body):
    do_settings: DoSettings


class DoSettingsAnswer(msgspec.Struct):
    do_settings: DoSettingsView


@operation(HTTPMethod.GET, PATH, scope=READ, answer=DoSettingsAnswer)
async def get_do_settings(request: Call) -> Response:
    """Get the custom DNS names of a cluster."""
    return answer(DoSettingsAnswer(do_settings_view(request.cluster().value)))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceDoSettings)
async def replace_do_settings(request: Call) -> Response:
    """Replace the custom DNS names; responds when the servers use a certificate for them.

    Clients stay connected.
    """
    request.cluster()  # 404 takes precedence over an invalid body
    body = await request.decoded(ReplaceDoSettings)
    names = rules.service_names(body.do_settings.service_cnames)
    await request.change_cluster(lambda current: replace(current, service_names=names))
    return no_content()


ROUTES = (get_do_settings, replace_do_settings)
