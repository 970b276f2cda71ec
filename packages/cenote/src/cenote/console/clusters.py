"""The clusters, a page of them at a time."""

from __future__ import annotations

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.visit import Visit, page

PATH = "/console/clusters"
PER_PAGE = 25


@page(HttpMethod.GET, PATH)
async def list_clusters(visit: Visit) -> ASGIResponse:
    name = visit.query_params.get("name", "").strip()[:63]
    text = visit.query_params.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 7 else 1
    found = await visit.api.get("/v2/databases", page=max(1, number), per_page=PER_PAGE)
    total = found["meta"]["total"]
    return visit.show(
        "clusters.html",
        clusters=found["databases"],
        name=name,
        number=number,
        total=total,
        last=max(1, -(-total // PER_PAGE)),
    )


ROUTES = (list_clusters,)
