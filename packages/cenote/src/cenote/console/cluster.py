"""The frame of every page of a cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from cenote.console.api_client import path_of
from cenote.console.request import ConsoleRequest
from cenote.http.routing import Response

PATH = "/console/clusters/{id}"


async def render_cluster(
    request: ConsoleRequest, template: str, status: int = 200, *, cluster: Any = None, **context: Any
) -> Response:
    """Return a page of the cluster in the path; its template extends ``cluster.html``."""
    if cluster is None:
        cluster = await cluster_of(request)
    return request.render(template, status, cluster=cluster, base=address_of(request), **context)


async def cluster_of(request: ConsoleRequest) -> Any:
    """Return the cluster in the path, as the API shows it to this token."""
    return (await request.api.get(path_of(request.path_params["id"])))["database"]


def address_of(request: ConsoleRequest) -> str:
    """Return the path of the cluster's overview; its other pages are below it."""
    return f"/console/clusters/{quote(request.path_params['id'], safe='')}"
