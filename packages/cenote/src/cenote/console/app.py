"""The console's ASGI application: pages, static files, and error pages."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from http import HTTPMethod

import msgspec

from cenote.console import (
    audit,
    backups,
    cluster_settings,
    clusters,
    configuration,
    connection_details,
    deleted_clusters,
    events_logs,
    firewall,
    forks,
    host_tokens,
    hosts,
    migration,
    new_cluster,
    nodes,
    overview,
    pools,
    sessions,
    sign_in,
    tokens,
    updates,
    users_databases,
)
from cenote.console.api_client import ApiError, RateLimited, SessionExpired
from cenote.console.rendering import Asset, Templates, assets
from cenote.console.request import Console, ConsoleRequest
from cenote.console.sessions import Seals
from cenote.http.routing import ASGIApp, HTTPException, Response, Route, router
from cenote.security.throttle import Throttle

log = logging.getLogger(__name__)

PAGES: tuple[Route[ConsoleRequest], ...] = (
    *sign_in.ROUTES,
    *clusters.ROUTES,
    *new_cluster.ROUTES,
    *overview.ROUTES,
    *connection_details.ROUTES,
    *pools.ROUTES,
    *users_databases.ROUTES,
    *migration.ROUTES,
    *firewall.ROUTES,
    *configuration.ROUTES,
    *backups.ROUTES,
    *forks.ROUTES,
    *events_logs.ROUTES,
    *nodes.ROUTES,
    *cluster_settings.ROUTES,
    *updates.ROUTES,
    *deleted_clusters.ROUTES,
    *tokens.ROUTES,
    *hosts.ROUTES,
    *host_tokens.ROUTES,
    *audit.ROUTES,
)
TITLES = {
    400: "Bad request",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    413: "Request too large",
    429: "Too many requests",
    503: "Service unavailable",
}


def create_console(api: ASGIApp, key: Callable[[], bytes]) -> ASGIApp:
    """Return the console as an ASGI application in front of the API."""
    files = assets()
    console = Console(api, Seals(key), Templates(files), Throttle())
    routes = [*PAGES, *(_sent(asset) for asset in files.values())]
    return router(routes, partial(ConsoleRequest, console), _answer)


def _sent(asset: Asset) -> Route[ConsoleRequest]:
    async def send(request: ConsoleRequest) -> Response:
        return Response(
            body=asset.body,
            media_type=asset.media_type,
            headers=[("cache-control", "public, max-age=31536000, immutable")],
        )

    return Route(HTTPMethod.GET, asset.path, send)


def _answer(request: ConsoleRequest, error: Exception) -> Response:
    match error:
        case SessionExpired():
            return _to_sign_in(request)
        case RateLimited():
            wait = f"Try again in {error.retry_after} seconds." if error.retry_after else "Try again later."
            message = f"This token has reached its rate limit. {wait} Nothing was changed."
            headers = {"retry-after": error.retry_after} if error.retry_after else {}
            return _error_page(request, 429, message, headers=headers)
        case ApiError():
            return _error_page(request, error.status, error.message, request_id=error.request_id)
        case HTTPException() if error.status_code != 500:
            message = "This page does not exist." if error.status_code == 404 else error.detail
            return _error_page(request, error.status_code, message)
    where = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)[-6:])
    )
    # Without the message, which could contain a password.
    log.error("a page of the console failed: %s in %s", type(error).__name__, where)
    return _error_page(request, 500, "Internal error. See the service log for details.")


def _error_page(
    request: ConsoleRequest,
    status: int,
    message: str,
    *,
    request_id: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    if request.wants_json:
        return Response(
            body=msgspec.json.encode({"message": message}), status_code=status, media_type="application/json"
        )
    title = TITLES.get(status, "Request failed")
    return request.render("error.html", status, headers, title=title, message=message, request_id=request_id)


def _to_sign_in(request: ConsoleRequest) -> Response:
    """Redirect to the sign-in page, which leads back to the page that was asked for."""
    if request.wants_json:
        return Response(status_code=401, body=b'{"message":"signed out"}', media_type="application/json")
    if sessions.SESSION not in request.cookies and request.headers.get("sec-fetch-site") == "cross-site":
        # A link on another site: under SameSite=Strict only the page's own next request has the cookie.
        return request.render("entered.html")
    had_session = sessions.SESSION in request.cookies
    return request.redirect(
        sign_in.address(request),
        notice="You have been signed out: the session has expired, or its token was revoked."
        if had_session
        else "",
        cookies=(sessions.cookie(sessions.SESSION, "", 0),) if had_session else (),
    )
