"""Names of one's own for a cluster: clients that connect by one of them can verify whom they talk to."""

from __future__ import annotations

from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote import rules
from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE
from cenote.api.service import Body, Call, answer, no_content, operation
from cenote.api.views import OwnSettingsView, own_settings_view
from cenote.http.routing import Response

PATH = "/v2/databases/{database_cluster_uuid}/do_settings"


class OwnSettings(Body):
    """Left out or empty, there are none."""

    service_cnames: schema_fields.HostNames | None = None


class ReplaceOwnSettings(Body):
    do_settings: OwnSettings


class OwnSettingsAnswer(msgspec.Struct):
    do_settings: OwnSettingsView


@operation(HTTPMethod.GET, PATH, scope=READ, answer=OwnSettingsAnswer)
async def get_own_settings(request: Call) -> Response:
    """Get the names of one's own that the certificate of a cluster is good for."""
    return answer(OwnSettingsAnswer(own_settings_view(request.cluster().value)))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceOwnSettings)
async def replace_own_settings(request: Call) -> Response:
    """Replace these names; answered when the servers show a certificate for them.  No client is dropped."""
    request.cluster()  # that there is none goes before what is wrong with the body
    wanted = await request.decoded(ReplaceOwnSettings)
    names = rules.service_names(wanted.do_settings.service_cnames)
    await request.change_cluster(lambda current: replace(current, service_names=names))
    return no_content()


ROUTES = (get_own_settings, replace_own_settings)
