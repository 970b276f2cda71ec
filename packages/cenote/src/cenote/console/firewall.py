"""The trusted sources of a cluster."""

from __future__ import annotations

from typing import Any

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, show_cluster
from cenote.console.request import Typed, Visit, page

SOURCES = PATH + "/sources"


@page(HttpMethod.GET, SOURCES)
async def list_sources(visit: Visit) -> ASGIResponse:
    return await _show(visit, Typed())


@page(HttpMethod.POST, SOURCES)
async def change(visit: Visit) -> ASGIResponse:
    """Add or remove a source; the API replaces the whole list, so the others are sent unchanged."""
    typed = await visit.typed()
    place = path_of(visit.path_params["id"], "firewall")
    here = f"{address_of(visit)}/sources"
    rules: list[Any] = (await visit.api.get(place))["rules"]
    if typed["do"] == "remove":
        gone = [rule for rule in rules if rule["uuid"] == typed["rule"]]
        if not gone:
            return visit.go(here)
        wanted, said = [rule for rule in rules if rule not in gone], f"{gone[0]['value']} removed."
    else:
        new = {"type": "ip_addr", "value": typed["value"]}
        if typed["description"]:
            new["description"] = typed["description"]
        wanted, said = [*rules, new], f"{new['value']} added to the trusted sources."
    try:
        await visit.api.put(place, {"rules": wanted})
    except RequestRejected as refusal:
        return await _show(visit, typed, refusal)
    return visit.go(here, said=said)


async def _show(visit: Visit, typed: Typed, refusal: RequestRejected | None = None) -> ASGIResponse:
    rules = await visit.api.get(path_of(visit.path_params["id"], "firewall"))
    return await show_cluster(
        visit,
        "sources.html",
        refusal.status if refusal else 200,
        rules=rules["rules"],
        typed=typed,
        refusal=refusal.message if refusal else "",
        own_address=visit.address,
    )


ROUTES = (list_sources, change)
