"""API tokens: pages that need the scope ``cenote:admin``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import RequestRejected
from cenote.console.request import MAX_BODY_BYTES, ConsoleRequest, FormFields, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response

TOKENS = "/console/tokens"
SCOPES = {
    "database:read": "View clusters and everything in them, except passwords",
    "database:create": "Create clusters, connection pools, users and databases",
    "database:update": "Change clusters and what is in them",
    "database:delete": "Delete clusters and what is in them",
    "database:view_credentials": "View user names, passwords and logs",
    "cenote:admin": "Manage tokens and hosts; view the audit log",
    "*": "Full access",
}
TOKEN_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "name": lambda token: token["name"],
    "created": lambda token: token["created_at"],
    "expires": lambda token: token["expires_at"],
}
LIFETIMES = {"1": "1 day", "30": "30 days", "90": "90 days", "365": "1 year", "": "never"}
UNKNOWN_LIFETIME = "Choose when the token expires, or never."


@page(HTTPMethod.GET, TOKENS)
async def list_tokens(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields(), set())


@page(HTTPMethod.POST, TOKENS)
async def create_token(request: ConsoleRequest) -> Response:
    """Create a token and show it in the response, once: it must be in no URL and no cookie."""
    form = await request.form_fields()
    scopes = [value for name, value in await request.fields(MAX_BODY_BYTES) if name == "scopes"]
    wanted: dict[str, Any] = {"name": form["name"], "scopes": scopes}
    days = form.get("expires")
    try:
        if days not in LIFETIMES:  # or a truncated form would create a token that never expires
            raise RequestRejected(422, UNKNOWN_LIFETIME)
        if days:
            wanted["expires_at"] = (datetime.now(UTC) + timedelta(days=int(days))).isoformat()
        made = (await request.api.post("/v2/cenote/tokens", wanted))["token"]
    except RequestRejected as refusal:
        return await _show(request, form, set(scopes), refusal)
    return await _show(request, FormFields(), set(), made=made)


async def _show(
    request: ConsoleRequest,
    form: FormFields,
    chosen: set[str],
    refusal: RequestRejected | None = None,
    made: Any = None,
) -> Response:
    found = await request.api.get("/v2/cenote/tokens")
    own = (await request.api.get("/v2/cenote/token"))["token"]
    sorting = Sorting(request, TOKEN_COLUMNS)
    return request.render(
        "tokens.html",
        refusal.status if refusal else 201 if made else 200,
        tokens=sorting.rows(found["tokens"]),
        sorting=sorting,
        own=own["id"],
        form=form,
        chosen=chosen or {"database:read"},
        scopes=SCOPES,
        lifetimes=LIFETIMES,
        refusal=refusal.message if refusal else "",
        made=made,
    )


@page(HTTPMethod.GET, TOKENS + "/{id}/revoke")
async def ask(request: ConsoleRequest) -> Response:
    found = (await request.api.get("/v2/cenote/tokens"))["tokens"]
    token = next((one for one in found if one["id"] == request.path_params["id"]), None)
    if token is None:
        raise RequestRejected(404, "No such token; it may have been revoked already.")
    own = (await request.api.get("/v2/cenote/token"))["token"]
    return request.render("revoke.html", token=token, is_own=token["id"] == own["id"])


@page(HTTPMethod.POST, TOKENS + "/{id}/revoke")
async def revoke(request: ConsoleRequest) -> Response:
    await request.api.delete(f"/v2/cenote/tokens/{quote(request.path_params['id'], safe='')}")
    return request.redirect(TOKENS, notice="Token revoked. Console sessions signed in with it have ended.")


ROUTES = (list_tokens, create_token, ask, revoke)
