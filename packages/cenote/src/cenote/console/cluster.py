"""The frame of every page of a cluster, and its overview."""

from __future__ import annotations

import base64
from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import path_of
from cenote.console.clusters import activity_of
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response
from cenote.model import catalog

PATH = "/console/clusters/{id}"
LATEST_EVENTS = 5  # on the overview


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


@page(HTTPMethod.GET, PATH)
async def overview(request: ConsoleRequest) -> Response:
    cluster = await cluster_of(request)
    pools = await request.api.get(path_of(cluster["id"], "pools"), per_page=1)
    events = await request.api.get(path_of(cluster["id"], "events"), per_page=LATEST_EVENTS)
    size = catalog.SIZES[cluster["size"]]
    return await render_cluster(
        request,
        "overview.html",
        cluster=cluster,
        numbers=(await activity_of(request, [cluster])).get(cluster["id"]),
        pools=pools["meta"]["total"],
        events=events["events"],
        size=size,
        clients=catalog.max_clients(size),
    )


@page(HTTPMethod.GET, PATH + "/ca.crt")
async def download_ca(request: ConsoleRequest) -> Response:
    """Send the CA certificate of the cluster as a file."""
    name = (await cluster_of(request))["name"]
    sent = await request.api.get(path_of(request.path_params["id"], "ca"))
    return Response(
        body=base64.b64decode(sent["ca"]["certificate"]),
        media_type="application/x-pem-file",
        headers=[("content-disposition", f'attachment; filename="{name}-ca.crt"')],
    )


ROUTES = (overview, download_ca)
