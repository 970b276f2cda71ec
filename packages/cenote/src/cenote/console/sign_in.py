"""Sign-in with an API token, and sign-out."""

from __future__ import annotations

import time
from datetime import datetime
from http import HTTPMethod
from urllib.parse import urlencode

import msgspec

from cenote.console import sessions
from cenote.console.api_client import SessionExpired
from cenote.console.request import ConsoleRequest, page
from cenote.console.sessions import ConsoleSession
from cenote.http.routing import Response

PATH = "/console/sign-in"
HOME = "/console/clusters"
UNKNOWN = "Token not accepted: it is unknown, has expired or was revoked."
TOO_OFTEN = "Too many failed sign-ins from your address. Wait a minute, then try again."


@page(HTTPMethod.GET, "/console")
async def begin(request: ConsoleRequest) -> Response:
    return request.redirect(HOME)


@page(HTTPMethod.GET, PATH, public=True)
async def show_sign_in(request: ConsoleRequest) -> Response:
    if request.maybe_session is not None:
        return request.redirect(HOME)
    return request.render("sign_in.html", error="", next=_next(request.query_params.get("next", "")))


@page(HTTPMethod.POST, PATH, public=True)
async def sign_in(request: ConsoleRequest) -> Response:
    form = await request.form_fields()
    wanted = _next(form["next"])
    address = request.address
    if not request.console.throttle.allows(address):
        return request.render("sign_in.html", 429, error=TOO_OFTEN, next=wanted)
    token = form["token"]
    try:
        if not token.isascii() or not token.isprintable():
            raise SessionExpired
        own = (await request.api_with(token).get("/v2/cenote/token"))["token"]
    except SessionExpired:
        request.console.throttle.record_failure(address)
        return request.render("sign_in.html", 401, error=UNKNOWN, next=wanted)
    ends = time.time() + sessions.SECONDS
    if own["expires_at"] is not None:
        ends = min(ends, datetime.fromisoformat(own["expires_at"]).timestamp())
    session = ConsoleSession(
        id=sessions.new_id(), token=token, name=own["name"], scopes=frozenset(own["scopes"]), ends=ends
    )
    sealed = request.console.seals.seal(sessions.SESSION, msgspec.json.encode(session))
    seconds = max(1, int(ends - time.time()))
    return request.redirect(
        wanted or HOME,
        cookies=(
            sessions.cookie(sessions.SESSION, sealed, seconds),
            sessions.cookie(sessions.SIGN_IN, "", 0),
        ),
    )


@page(HTTPMethod.POST, "/console/sign-out")
async def sign_out(request: ConsoleRequest) -> Response:
    return request.redirect(
        PATH, notice="You have signed out.", cookies=(sessions.cookie(sessions.SESSION, "", 0),)
    )


def address(request: ConsoleRequest) -> str:
    """Return the path of the sign-in page, with the requested page to show afterwards."""
    path = request.scope["path"]
    if request.method != "GET" or path in ("/console", HOME):
        return PATH
    query = request.scope["query_string"].decode("latin-1")
    return f"{PATH}?{urlencode({'next': f'{path}?{query}' if query else path})}"


def _next(text: str) -> str:
    """Return the path if it is in the console, else nothing: no open redirect."""
    fits = text.startswith("/console/") and text.isascii() and text.isprintable() and "\\" not in text
    return text if fits else ""


ROUTES = (begin, show_sign_in, sign_in, sign_out)
