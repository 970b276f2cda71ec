"""The list of clusters, by pages, with their current activity; by name, by tag, and sorted."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any
from urllib.parse import urlencode

from cenote.console.request import ConsoleRequest, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response

PATH = "/console/clusters"
PER_PAGE = 25
SORTED = ("name", "version", "size", "created_at")  # by the API, across all pages


@page(HTTPMethod.GET, PATH)
async def list_clusters(request: ConsoleRequest) -> Response:
    name = request.query_params.get("name", "").strip()[:63]
    tag = request.query_params.get("tag", "").strip()[:255]
    number, sorting = page_number(request), Sorting(request, dict.fromkeys(SORTED, str))
    query = ({"name": name} if name else {}) | sorting.query
    wanted = query | ({"tag_name": tag} if tag else {})
    found = await request.api.get("/v2/databases", page=number, per_page=PER_PAGE, **wanted)
    clusters, total = found["databases"], found["meta"]["total"]
    chosen = query | ({"tag": tag} if tag else {})

    return request.render(
        "clusters.html",
        clusters=clusters,
        activity=await activity_of(request, clusters),
        name=name,
        tag=tag,
        kept={key: value for key, value in chosen.items() if key != "name"},
        sorting=sorting,
        number=number,
        total=total,
        first=(number - 1) * PER_PAGE + 1,
        without_tag=_link(query, 1),
        previous=_link(chosen, number - 1) if number > 1 else "",
        next=_link(chosen, number + 1) if number * PER_PAGE < total else "",
    )


def _link(chosen: dict[str, str], page: int) -> str:
    query = urlencode(chosen | ({"page": str(page)} if page > 1 else {}))
    return f"{PATH}?{query}" if query else PATH


async def activity_of(request: ConsoleRequest, clusters: list[Any]) -> dict[str, Any]:
    """Return the activity of the clusters by id; None for one that does not answer."""
    ids = ",".join(cluster["id"] for cluster in clusters if cluster["status"] != "creating")
    if not ids:
        return {}
    found = await request.api.get("/v2/cenote/activity", cluster_uuids=ids)
    return {
        one["cluster_uuid"]: one["numbers"] and one["numbers"] | {"not_counted": one.get("not_counted", [])}
        for one in found["activity"]
    }


def page_number(request: ConsoleRequest) -> int:
    """Return the page that is asked for, the first one if it is no number."""
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


ROUTES = (list_clusters,)
