"""The pools of a cluster."""

from __future__ import annotations

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.backend import path_of
from cenote.console.cluster import PATH, show_cluster
from cenote.console.visit import Visit, page


@page(HttpMethod.GET, PATH + "/pools")
async def list_pools(visit: Visit) -> ASGIResponse:
    found = await visit.api.get(path_of(visit.path_params["id"], "pools"), per_page=200)
    return await show_cluster(visit, "pools.html", pools=found["pools"])


ROUTES = (list_pools,)
