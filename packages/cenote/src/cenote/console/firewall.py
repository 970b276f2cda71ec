"""The trusted sources of a cluster."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response

SOURCES = PATH + "/sources"


@page(HTTPMethod.GET, SOURCES)
async def list_sources(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, SOURCES)
async def change(request: ConsoleRequest) -> Response:
    """Add or remove a source; the API replaces the whole list, so the others are sent unchanged."""
    form = await request.form_fields()
    place = path_of(request.path_params["id"], "firewall")
    here = f"{address_of(request)}/sources"
    rules: list[Any] = (await request.api.get(place))["rules"]
    if form["do"] == "remove":
        gone = [rule for rule in rules if rule["uuid"] == form["rule"]]
        if not gone:
            return request.redirect(here)
        wanted, notice = [rule for rule in rules if rule not in gone], f"{gone[0]['value']} removed."
    else:
        new = {"type": "ip_addr", "value": form["value"]}
        if form["description"]:
            new["description"] = form["description"]
        wanted, notice = [*rules, new], f"{new['value']} added to the trusted sources."
    try:
        await request.api.put(place, {"rules": wanted})
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here, notice=notice)


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    rules = await request.api.get(path_of(request.path_params["id"], "firewall"))
    return await render_cluster(
        request,
        "sources.html",
        refusal.status if refusal else 200,
        rules=rules["rules"],
        form=form,
        refusal=refusal.message if refusal else "",
        own_address=request.address,
    )


ROUTES = (list_sources, change)
