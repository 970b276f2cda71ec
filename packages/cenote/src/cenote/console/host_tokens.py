"""The tokens with which other hosts join: a part of the page of hosts, for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import RequestRejected
from cenote.console.request import MAX_BODY_BYTES, ConsoleRequest, page
from cenote.http.routing import Response

HOSTS = "/console/hosts"
PATH = f"{HOSTS}/tokens"
ROLES = {
    "api": "Serve API and console, with the keys to all passwords",
    "database": "Run clusters",
    "store": "Keep a copy of all records",
}
LIFETIMES = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "7 days"}
UNKNOWN_LIFETIME = "Choose how long the token can be used."


async def unused(request: ConsoleRequest) -> Any:
    """Return what the page of hosts shows of tokens."""
    return await request.api.get("/v2/cenote/hosts/tokens")


@page(HTTPMethod.GET, PATH)
async def form(request: ConsoleRequest) -> Response:
    return await _show(request, set(ROLES), "1")


@page(HTTPMethod.POST, PATH)
async def create(request: ConsoleRequest) -> Response:
    """Create a token and show the command with it, once: it must be in no URL and no cookie."""
    given = await request.fields(MAX_BODY_BYTES)
    roles = [value for name, value in given if name == "roles"]
    hours = next((value for name, value in given if name == "expires"), "")
    try:
        if hours not in LIFETIMES:
            raise RequestRejected(422, UNKNOWN_LIFETIME)
        expires_at = datetime.now(UTC) + timedelta(hours=int(hours), minutes=-1)
        wanted = {"roles": roles, "expires_at": expires_at.isoformat()}
        made = (await request.api.post("/v2/cenote/hosts/tokens", wanted))["host_token"]
    except RequestRejected as refusal:
        return await _show(request, set(roles), hours, refusal)
    return await _show(request, set(ROLES), "1", made=made)


@page(HTTPMethod.POST, PATH + "/{id}/revoke")
async def revoke(request: ConsoleRequest) -> Response:
    await request.api.delete(f"/v2/cenote/hosts/tokens/{quote(request.path_params['id'], safe='')}")
    return request.redirect(PATH, notice="Token revoked. Hosts that have joined stay.")


async def _show(
    request: ConsoleRequest,
    chosen: set[str],
    hours: str,
    refusal: RequestRejected | None = None,
    made: Any = None,
) -> Response:
    return request.render(
        "host_tokens.html",
        refusal.status if refusal else 201 if made else 200,
        joining=await unused(request),
        roles=ROLES,
        chosen=chosen,
        lifetimes=LIFETIMES,
        hours=hours,
        refusal=refusal.message if refusal else "",
        made=made,
    )


ROUTES = (form, create, revoke)
