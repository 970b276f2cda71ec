"""The ASGI application with all routes of the API."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from http import HTTPMethod

import msgspec

from cenote.api import (
    account,
    activity,
    backups,
    ca,
    clusters,
    config,
    databases,
    delete_protection,
    deletions,
    do_settings,
    drills,
    events,
    firewall,
    host_tokens,
    hosts,
    keys,
    log_sinks,
    logs,
    maintenance,
    metrics,
    moves,
    networks,
    online_migration,
    openapi,
    options,
    pool_advice,
    pool_history,
    pool_reconnect,
    pool_stats,
    pool_stream,
    pools,
    project_resources,
    projects,
    recoveries,
    replicas,
    resize,
    storage,
    switchover,
    tags,
    tokens,
    undelete,
    undelete_days,
    unsupported,
    upgrades,
    users,
)
from cenote.api.call import Call
from cenote.api.errors import error_response
from cenote.api.middleware import ApiMiddleware
from cenote.api.operation import OperationRoute, answer, operation
from cenote.api.service import Ports, Service, Settings, Unclaimed
from cenote.http.routing import ASGIApp, Response, Route, router
from cenote.model.timing import DEFAULT, Timing
from cenote.security.certificates import Validity
from cenote.security.sealing import Rings
from cenote.stats.observer import NO_ARCHIVES, NO_HOST_KEYS, NO_OBSERVER, Archives, HostKeys, Observer
from cenote.store import Store

OPERATIONS: tuple[OperationRoute, ...] = (
    *options.ROUTES,
    *clusters.ROUTES,
    *ca.ROUTES,
    *config.ROUTES,
    *maintenance.ROUTES,
    *resize.ROUTES,
    *online_migration.ROUTES,
    *upgrades.ROUTES,
    *do_settings.ROUTES,
    *storage.ROUTES,
    *moves.ROUTES,
    *switchover.ROUTES,
    *backups.ROUTES,
    *recoveries.ROUTES,
    *drills.ROUTES,
    *delete_protection.ROUTES,
    *undelete_days.ROUTES,
    *deletions.ROUTES,
    *undelete.ROUTES,
    *pools.ROUTES,
    *pool_reconnect.ROUTES,
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
    *host_tokens.ROUTES,
    *keys.ROUTES,
    *activity.ROUTES,
    *tags.ROUTES,
    *projects.ROUTES,
    *project_resources.ROUTES,
    *networks.ROUTES,
    *account.ROUTES,
    *replicas.ROUTES,
    *unsupported.ROUTES,
)


class ServiceHealth(msgspec.Struct):
    """``store`` is ``connected`` or ``disconnected``; while disconnected, records may be out of date."""

    status: str
    store: str


@operation(HTTPMethod.GET, "/healthz", scope=None, answer=ServiceHealth)
async def healthz(request: Call) -> Response:
    """Check the health of the service; 503 while etcd is unreachable."""
    if request.service.store.connected:
        return answer(ServiceHealth("ok", "connected"))
    return answer(ServiceHealth("degraded", "disconnected"), 503)


_ALL = (*OPERATIONS, healthz, metrics.get_service_metrics)


@functools.cache
def documents() -> dict[str, tuple[str, bytes]]:
    """Return the description of the API, which takes a while to make: media type and body, by path."""
    document = openapi.describe(_ALL)
    return {
        "/openapi.json": ("application/json", msgspec.json.encode(document)),
        "/docs": ("text/html", openapi.page(document).encode()),
    }


def create_app(
    store: Store,
    rings: Rings,
    settings: Settings,
    observer: Observer = NO_OBSERVER,
    timing: Timing = DEFAULT,
    certificate_validity: Callable[[], Validity | None] = lambda: None,
    host_keys: HostKeys = NO_HOST_KEYS,
    ports: Ports | None = None,
    archives: Archives = NO_ARCHIVES,
) -> ASGIApp:
    """Return the API as an ASGI application; the store must be open while it serves.

    ``certificate_validity`` returns when the certificates that it is served with are valid.
    """
    service = Service(
        store,
        rings,
        settings,
        observer,
        timing,
        certificate_validity,
        host_keys,
        ports or Unclaimed(),
        archives,
    )
    app = router(
        [*_ALL, *(_text(path, *text) for path, text in documents().items())],
        partial(Call, service),
        _answer_error,
    )
    return ApiMiddleware(app, service)


def _answer_error(request: Call, error: Exception) -> Response:
    return error_response(error, request.request_id)


def _text(path: str, media_type: str, body: bytes) -> Route[Call]:
    async def show(request: Call) -> Response:
        return Response(body, media_type=media_type)

    return Route(HTTPMethod.GET, path, show)
