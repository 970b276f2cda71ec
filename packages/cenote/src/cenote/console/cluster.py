"""The frame of every page of a cluster, and its overview."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.api_client import path_of
from cenote.console.clusters import activity_of
from cenote.console.request import Visit, page
from cenote.model import catalog

PATH = "/console/clusters/{id:str}"
NEWEST = 5  # on the overview


async def show_cluster(
    visit: Visit, template: str, status: int = 200, *, cluster: Any = None, **context: Any
) -> ASGIResponse:
    """Return a page of the cluster in the path; its template extends ``cluster.html``."""
    if cluster is None:
        cluster = await cluster_of(visit)
    return visit.show(template, status, cluster=cluster, base=address_of(visit), **context)


async def cluster_of(visit: Visit) -> Any:
    """Return the cluster in the path, as the API shows it to this token."""
    return (await visit.api.get(path_of(visit.path_params["id"])))["database"]


def address_of(visit: Visit) -> str:
    """Return the path of the cluster's overview; its other pages are below it."""
    return f"/console/clusters/{quote(visit.path_params['id'], safe='')}"


@page(HttpMethod.GET, PATH)
async def overview(visit: Visit) -> ASGIResponse:
    cluster = await cluster_of(visit)
    pools = await visit.api.get(path_of(cluster["id"], "pools"), per_page=1)
    events = await visit.api.get(path_of(cluster["id"], "events"), per_page=NEWEST)
    size = catalog.SIZES[cluster["size"]]
    return await show_cluster(
        visit,
        "overview.html",
        cluster=cluster,
        numbers=(await activity_of(visit, [cluster])).get(cluster["id"]),
        pools=pools["meta"]["total"],
        events=events["events"],
        size=size,
        clients=catalog.max_clients(size),
    )


@page(HttpMethod.GET, PATH + "/ca.crt")
async def download_ca(visit: Visit) -> ASGIResponse:
    """Send the CA certificate of the cluster as a file."""
    name = (await cluster_of(visit))["name"]
    sent = await visit.api.get(path_of(visit.path_params["id"], "ca"))
    return ASGIResponse(
        body=base64.b64decode(sent["ca"]["certificate"]),
        media_type="application/x-pem-file",
        headers={"content-disposition": f'attachment; filename="{name}-ca.crt"'},
    )


ROUTES = (overview, download_ca)
