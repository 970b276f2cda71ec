"""The overview of a cluster, with the URIs to copy; their password is shown or copied only on request."""

from __future__ import annotations

import base64
from http import HTTPMethod
from typing import Any

from cenote.console.api_client import path_of
from cenote.console.cluster import PATH, cluster_of, render_cluster
from cenote.console.clusters import activity_of
from cenote.console.connection_details import ConnectionText, texts
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response
from cenote.model import catalog

LATEST_EVENTS = 5
POOLS = 4  # whose URIs are shown


@page(HTTPMethod.GET, PATH)
async def overview(request: ConsoleRequest) -> Response:
    return await _show(request, shown=False)


@page(HTTPMethod.POST, PATH)
async def reveal(request: ConsoleRequest) -> Response:
    """Show the password: send the URIs with it to a script, else the page with it."""
    if not request.wants_json:
        return await _show(request, shown=True)
    cluster = await cluster_of(request)
    pools, _ = await _pools(request, cluster)
    secret = [text for text in _uris(cluster, pools, shown=True) if text.secret]
    return request.json({"texts": {text.id: text.text for text in secret}})


async def _show(request: ConsoleRequest, *, shown: bool) -> Response:
    cluster = await cluster_of(request)
    pools, total = await _pools(request, cluster)
    events = await request.api.get(path_of(cluster["id"], "events"), per_page=LATEST_EVENTS)
    size = catalog.SIZES[cluster["size"]]
    return await render_cluster(
        request,
        "overview.html",
        cluster=cluster,
        numbers=(await activity_of(request, [cluster])).get(cluster["id"]),
        pools=total,
        uris=_uris(cluster, pools, shown=shown),
        more_pools=total - len(pools),
        shown=shown,
        can_view="password" in cluster["connection"],
        events=events["events"],
        size=size,
        clients=catalog.max_clients(size),
    )


async def _pools(request: ConsoleRequest, cluster: Any) -> tuple[list[Any], int]:
    """Return the first pools, and how many there are."""
    found = await request.api.get(path_of(cluster["id"], "pools"), per_page=POOLS)
    return found["pools"], found["meta"]["total"]


def _uris(cluster: Any, pools: list[Any], *, shown: bool) -> list[ConnectionText]:
    """Return the URI of the direct port, psql with it, and the URI of each pool."""
    direct = {text.label: text for text in texts(cluster["connection"], None, shown=shown)}
    found = [(direct["URI"], "direct", "URI, direct"), (direct["psql"], "psql", "psql, direct")]
    for pool in pools:
        [uri] = [text for text in texts(pool["connection"], None, shown=shown) if text.label == "URI"]
        found.append((uri, f"pool-{pool['name']}", f"URI of pool {pool['name']}"))
    return [ConnectionText(f"uri-{id}", label, one.text, one.secret) for one, id, label in found]


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


ROUTES = (overview, reveal, download_ca)
