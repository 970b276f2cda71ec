"""The events of a cluster, and the latest messages of its logs."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPMethod
from typing import Any
from urllib.parse import urlencode

from cenote.console.api_client import ApiError, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.log_lines import line, newest
from cenote.console.request import ConsoleRequest, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response

SOURCES = {"postgres": "PostgreSQL", "pgbouncer": "PgBouncer"}
SEVERITIES = {"": "All severities", "warning": "Warnings and errors", "error": "Errors"}
EVENTS, MESSAGES, MAX_SEARCH, MAX_NODE = 50, 1_000, 200, 100
COLUMNS: dict[str, Callable[[Any], Any]] = {
    "time": lambda event: event["create_time"],
    "event": lambda event: event["event_type"],
    "who": lambda event: event["cenote"]["token"]["name"] if event["cenote"]["token"] else None,
    "outcome": lambda event: event["cenote"]["outcome"],
}


@page(HTTPMethod.GET, PATH + "/activity")
async def show_history(request: ConsoleRequest) -> Response:
    id = request.path_params["id"]
    found = await request.api.get(path_of(id, "events"), per_page=EVENTS)
    chosen, source, sorting = _filter(request), _source(request), Sorting(request, COLUMNS)
    nodes = [one["name"] for one in (await cluster_of(request))["cenote"].get("nodes", ())]
    read: list[Any] = []
    unavailable = next_one = ""
    try:
        logs = await _read(request, source, **chosen)
        read, next_one = logs["messages"], logs["next"]
    except ApiError as refusal:
        unavailable = refusal.message

    def link(path: str, **changed: str) -> str:
        query = {"log": source} | chosen | changed
        return f"{path}?{urlencode({name: value for name, value in query.items() if value})}"

    base = f"{address_of(request)}/activity"
    return await render_cluster(
        request,
        "activity.html",
        events=sorting.rows(found["events"]),
        sorting=sorting,
        total=found["meta"]["total"],
        messages=newest(read),
        read=len(read),
        next=next_one,
        unavailable=unavailable,
        chosen=chosen,
        filtered=bool(chosen.keys() - {"node"}),
        nodes=nodes,
        source=source,
        sources={name: (words, link(base, log=name)) for name, words in SOURCES.items()},
        severities=SEVERITIES,
        follow=link(f"{base}/log"),
        download=link(f"{base}/log.txt"),
    )


@page(HTTPMethod.GET, PATH + "/activity/log")
async def follow_log(request: ConsoleRequest) -> Response:
    """Send the messages after a cursor to the script that follows the log."""
    after = request.query_params.get("after", "")[:100]
    logs = await _read(request, _source(request), after=after, **_filter(request))
    shown = newest(logs["messages"])
    html = request.console.pages.part("log.html", "log_lines", shown)
    return request.json({"html": html, "messages": len(shown), "next": logs["next"]})


@page(HTTPMethod.GET, PATH + "/activity/log.txt")
async def download_log(request: ConsoleRequest) -> Response:
    """Send the latest messages that match, as a text file."""
    source, name = _source(request), (await cluster_of(request))["name"]
    logs = await _read(request, source, **_filter(request))
    lines = map(line, logs["messages"])
    return Response(
        body="".join(lines).encode(),
        media_type="text/plain",
        headers=[("content-disposition", f'attachment; filename="{name}-{source}.log"')],
    )


def _filter(request: ConsoleRequest) -> dict[str, str]:
    """Return the query of the API for the messages that were chosen, and the node."""
    search = request.query_params.get("search", "").strip()[:MAX_SEARCH]
    severity = request.query_params.get("severity", "")
    node = request.query_params.get("node", "")[:MAX_NODE]
    given = {"search": search, "severity": severity if severity in SEVERITIES else "", "node": node}
    return {name: value for name, value in given.items() if value}


def _source(request: ConsoleRequest) -> str:
    source = request.query_params.get("log", "postgres")
    return source if source in SOURCES else "postgres"


async def _read(request: ConsoleRequest, source: str, **chosen: str) -> Any:
    place = path_of(request.path_params["id"], "logs")
    return (await request.api.get(place, source=source, lines=MESSAGES, **chosen))["logs"]


ROUTES = (show_history, follow_log, download_log)
