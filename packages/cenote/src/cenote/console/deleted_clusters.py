"""The deleted clusters: bring one back, or remove it for good."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import RequestRejected
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response

PATH = "/console/deleted"
API = "/v2/cenote/deleted"
MOST = 200  # the last deleted; the command line lists all


@page(HTTPMethod.GET, PATH)
async def list_deleted(request: ConsoleRequest) -> Response:
    return await _show(request)


@page(HTTPMethod.POST, PATH + "/{id}/undelete")
async def undelete(request: ConsoleRequest) -> Response:
    id, name = request.path_params["id"], (await request.form_fields())["name"].strip()
    try:
        answer = await request.api.post(_api_path(request, "/undelete"), {"name": name} if name else {})
    except RequestRejected as refusal:
        return await _show(request, refusal)
    told = " ".join([f"Cluster {answer['database']['name']} is back.", *answer["changed"]])
    return request.redirect(f"/console/clusters/{quote(id, safe='')}", notice=told)


@page(HTTPMethod.GET, PATH + "/{id}/purge")
async def ask(request: ConsoleRequest) -> Response:
    return await _ask(request)


@page(HTTPMethod.POST, PATH + "/{id}/purge")
async def purge(request: ConsoleRequest) -> Response:
    try:
        await request.api.delete(_api_path(request))
    except RequestRejected as refusal:
        return await _ask(request, refusal)
    return request.redirect(PATH, notice="The cluster is removed for good.")


async def _show(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    return request.render(
        "deleted.html",
        refusal.status if refusal else 200,
        deleted=await _deleted(request),
        refused_id=request.path_params.get("id", ""),
        refusal=refusal.message if refusal else "",
    )


async def _ask(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    found = await _deleted(request)
    cluster = next((one for one in found if one["id"] == request.path_params["id"]), None)
    if cluster is None:
        raise RequestRejected(404, "No such deleted cluster; it may be back, or removed already.")
    return request.render(
        "purge.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        refusal=refusal.message if refusal else "",
    )


async def _deleted(request: ConsoleRequest) -> Any:
    return (await request.api.get(API, per_page=MOST))["deleted"]


def _api_path(request: ConsoleRequest, rest: str = "") -> str:
    return f"{API}/{quote(request.path_params['id'], safe='')}{rest}"


ROUTES = (list_deleted, undelete, ask, purge)
