"""The hosts, draining and removing one: pages that need the scope ``cenote:admin``."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import RequestRejected
from cenote.console.request import ConsoleRequest, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response

HOSTS = "/console/hosts"
API = "/v2/cenote/hosts"
COLUMNS: dict[str, Callable[[Any], Any]] = {
    "name": lambda host: host["name"],
    "zone": lambda host: host["zone"],
    "state": lambda host: (host["state"], "drain" in host),
    "cpus": lambda host: host["cpus"],
    "memory": lambda host: host["memory_mib"],
    "storage": lambda host: host["disk_mib"],
    "clusters": lambda host: host["clusters"],
}


@page(HTTPMethod.GET, HOSTS)
async def list_hosts(request: ConsoleRequest) -> Response:
    found = await _hosts(request)
    sorting = Sorting(request, COLUMNS)
    return request.render("hosts.html", hosts=sorting.rows(found), sorting=sorting)


@page(HTTPMethod.POST, HOSTS + "/{id}/drain")
async def drain(request: ConsoleRequest) -> Response:
    host = (await request.api.post(_api_path(request, "/drain")))["host"]
    return request.redirect(HOSTS, notice=f"{host['name']} is {host['reason']}.")


@page(HTTPMethod.POST, HOSTS + "/{id}/undrain")
async def undrain(request: ConsoleRequest) -> Response:
    await request.api.delete(_api_path(request, "/drain"))
    return request.redirect(HOSTS, notice="The host takes clusters again.")


@page(HTTPMethod.GET, HOSTS + "/{id}/remove")
async def ask(request: ConsoleRequest) -> Response:
    return await _ask(request)


@page(HTTPMethod.POST, HOSTS + "/{id}/remove")
async def remove(request: ConsoleRequest) -> Response:
    query = {"lost": "true"} if (await request.form_fields())["lost"] else {}
    try:
        await request.api.call("DELETE", _api_path(request), query=query)
    except RequestRejected as refusal:
        return await _ask(request, refusal)
    return request.redirect(HOSTS, notice="The host was removed.")


async def _ask(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    found = await _hosts(request)
    host = next((one for one in found if one["id"] == request.path_params["id"]), None)
    if host is None:
        raise RequestRejected(404, "No such host; it may have been removed already.")
    return request.render(
        "remove_host.html",
        refusal.status if refusal else 200,
        host=host,
        refusal=refusal.message if refusal else "",
    )


async def _hosts(request: ConsoleRequest) -> Any:
    return (await request.api.get(API))["hosts"]


def _api_path(request: ConsoleRequest, rest: str = "") -> str:
    return f"{API}/{quote(request.path_params['id'], safe='')}{rest}"


ROUTES = (list_hosts, drain, undrain, ask, remove)
