"""A cluster: the frame that all its pages have, and the page about the whole of it."""

from __future__ import annotations

from typing import Any

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.backend import path_of
from cenote.console.visit import Visit, page

PATH = "/console/clusters/{id:str}"


async def show_cluster(
    visit: Visit, template: str, status: int = 200, *, cluster: Any = None, **context: Any
) -> ASGIResponse:
    """Return a page of the cluster that the path names; its template extends ``cluster.html``."""
    if cluster is None:
        cluster = await cluster_of(visit)
    return visit.show(template, status, cluster=cluster, base=address_of(visit), **context)


async def cluster_of(visit: Visit) -> Any:
    """Return the cluster that the path names, as the API shows it to this token."""
    return (await visit.api.get(path_of(visit.path_params["id"])))["database"]


def address_of(visit: Visit) -> str:
    """Return the address of the cluster's first page; the others are below it."""
    return f"/console/clusters/{visit.path_params['id']}"


@page(HttpMethod.GET, PATH)
async def overview(visit: Visit) -> ASGIResponse:
    return await show_cluster(visit, "overview.html")


ROUTES = (overview,)
