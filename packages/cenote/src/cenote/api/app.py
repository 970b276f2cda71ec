"""The application: every route, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import HttpMethod, Litestar, Request, Response
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from cenote.api import (
    account,
    activity,
    ca,
    clusters,
    config,
    databases,
    do_settings,
    events,
    firewall,
    hosts,
    keys,
    log_sinks,
    logs,
    maintenance,
    metrics,
    networks,
    openapi,
    options,
    pool_advice,
    pool_history,
    pool_stats,
    pool_stream,
    pools,
    projects,
    resize,
    storage,
    tags,
    tokens,
    unsupported,
    users,
)
from cenote.api.errors import answer_to
from cenote.api.middleware import ApiMiddleware
from cenote.api.service import Call, Service, Settings, answer, operation
from cenote.model.timing import DEFAULT, Timing
from cenote.security.sealing import Sealer
from cenote.stats.observer import NO_OBSERVER, Observer
from cenote.stats.sampler import Sampler
from cenote.store import Store

OPERATIONS: tuple[HTTPRouteHandler, ...] = (
    *options.ROUTES,
    *clusters.ROUTES,
    *ca.ROUTES,
    *config.ROUTES,
    *maintenance.ROUTES,
    *resize.ROUTES,
    *do_settings.ROUTES,
    *storage.ROUTES,
    *pools.ROUTES,
    *pool_stats.ROUTES,
    *logs.ROUTES,
    *pool_history.ROUTES,
    *pool_stream.ROUTES,
    *pool_advice.ROUTES,
    *log_sinks.ROUTES,
    *users.ROUTES,
    *databases.ROUTES,
    *events.ROUTES,
    *firewall.ROUTES,
    *metrics.ROUTES,
    *tokens.ROUTES,
    *hosts.ROUTES,
    *keys.ROUTES,
    *activity.ROUTES,
    *tags.ROUTES,
    *projects.ROUTES,
    *networks.ROUTES,
    *account.ROUTES,
    *unsupported.ROUTES,
)


class Health(msgspec.Struct):
    """``store`` says whether the records are current."""

    status: str
    store: str


@operation(HttpMethod.GET, "/healthz", scope=None, answer=Health)
async def healthz(request: Call) -> ASGIResponse:
    """Say whether the service works; 503 while the store can't be reached."""
    if request.service.store.connected:
        return answer(Health("ok", "connected"))
    return answer(Health("degraded", "disconnected"), 503)


def create_app(
    store: Store,
    sealer: Sealer,
    settings: Settings,
    observer: Observer = NO_OBSERVER,
    sampler: Sampler | None = None,
    timing: Timing = DEFAULT,
) -> ASGIApp:
    """Return the API as an ASGI application; the store must be open while it serves.

    Without a ``sampler`` that somebody runs, pools have a past only while they are watched.
    """
    sampler = sampler or Sampler(store, observer, timing)
    service = Service(store, sealer, settings, observer, sampler, timing)
    handlers = (*OPERATIONS, healthz, metrics.get_service_metrics)
    document = openapi.describe(handlers)
    texts = {
        "/openapi.json": ("application/json", msgspec.json.encode(document)),
        "/docs": ("text/html", openapi.page(document).encode()),
    }
    app = Litestar(
        route_handlers=[
            # Before the others, or Litestar adds answers of its own for OPTIONS.
            *(_allowed(path, methods) for path, methods in _methods(handlers).items()),
            *handlers,
            *(_text(path, *text) for path, text in texts.items()),
        ],
        request_class=Call,
        exception_handlers={Exception: _answer_error},
        request_max_body_size=settings.max_body_bytes,
        logging_config=None,
        openapi_config=None,
        state=State({"service": service}),
    )
    return ApiMiddleware(app, service)


def _answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return answer_to(error, str(request.scope.get("request_id", ""))).within_routing()


def _methods(handlers: Iterable[HTTPRouteHandler]) -> dict[str, set[str]]:
    """Return the methods of each path."""
    methods: dict[str, set[str]] = {}
    for handler in handlers:
        for path in handler.paths:
            methods.setdefault(path, {"OPTIONS"}).update(handler.http_methods)
    return methods


def _allowed(path: str, methods: set[str]) -> HTTPRouteHandler:
    """Say what a path takes; Litestar's own answer knows only the first handler of a path."""

    async def options(request: Call) -> ASGIResponse:
        return ASGIResponse(status_code=204, headers={"allow": ", ".join(sorted(methods))})

    return HTTPRouteHandler(path, http_method=[HttpMethod.OPTIONS], status_code=200)(options)


def _text(path: str, media_type: str, body: bytes) -> HTTPRouteHandler:
    async def show(request: Call) -> ASGIResponse:
        return ASGIResponse(body=body, media_type=media_type)

    return HTTPRouteHandler(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=200)(show)
