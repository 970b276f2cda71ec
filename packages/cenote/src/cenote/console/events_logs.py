"""The events of a cluster, and the latest messages of its logs."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

from cenote.console.api_client import ApiError, path_of
from cenote.console.cluster import PATH, render_cluster
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response

SOURCES = {"postgres": "PostgreSQL", "pgbouncer": "PgBouncer"}
EVENTS, LINES = 25, 100


@page(HTTPMethod.GET, PATH + "/activity")
async def show_history(request: ConsoleRequest) -> Response:
    id = request.path_params["id"]
    found = await request.api.get(path_of(id, "events"), per_page=EVENTS)
    source = request.query_params.get("log", "postgres")
    if source not in SOURCES:
        source = "postgres"
    messages: list[Any] = []
    unavailable = ""
    try:
        logs = await request.api.get(path_of(id, "logs"), source=source, lines=LINES)
        messages = logs["logs"]["messages"]
    except ApiError as refusal:
        unavailable = refusal.message
    return await render_cluster(
        request,
        "activity.html",
        events=found["events"],
        total=found["meta"]["total"],
        messages=messages,
        unavailable=unavailable,
        source=source,
        sources=SOURCES,
    )


ROUTES = (show_history,)
