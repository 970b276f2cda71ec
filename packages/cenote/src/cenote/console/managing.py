"""The settings of a cluster: size, maintenance window, updates, deletion."""

from __future__ import annotations

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, show_cluster
from cenote.console.new_cluster import sizes_by_family
from cenote.console.request import Typed, Visit, page

SETTINGS = PATH + "/settings"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = tuple(f"{hour:02}:00" for hour in range(24))


@page(HttpMethod.GET, SETTINGS)
async def show_settings(visit: Visit) -> ASGIResponse:
    return await _show(visit, Typed())


@page(HttpMethod.POST, SETTINGS)
async def change(visit: Visit) -> ASGIResponse:
    typed = await visit.typed()
    id, here = visit.path_params["id"], f"{address_of(visit)}/settings"
    try:
        match typed["do"]:
            case "resize":
                size = typed["size"]
                await visit.api.put(path_of(id, "resize"), {"size": size, "num_nodes": 1})
                return visit.go(address_of(visit), said=f"Resizing the cluster to {size}.")
            case "window":
                window = {"day": typed["day"], "hour": typed["hour"]}
                await visit.api.put(path_of(id, "maintenance"), window)
                return visit.go(
                    here,
                    said=f"Updates are installed on {window['day'].capitalize()}s from {window['hour']} UTC.",
                )
            case "update":
                await visit.api.put(path_of(id, "install_update"))
                return visit.go(here, said="All servers run the versions installed on the host.")
            case "delete":
                cluster = await cluster_of(visit)
                if typed["name"] != cluster["name"]:
                    raise RequestRejected(422, f"Type the cluster's name to confirm: {cluster['name']}")
                await visit.api.delete(path_of(id))
                return visit.go("/console/clusters", said=f"Cluster {cluster['name']} deleted.")
    except RequestRejected as refusal:
        return await _show(visit, typed, refusal)
    return visit.go(here)


async def _show(visit: Visit, typed: Typed, refusal: RequestRejected | None = None) -> ASGIResponse:
    options = await visit.api.get("/v2/databases/options")
    return await show_cluster(
        visit,
        "settings.html",
        refusal.status if refusal else 200,
        families=sizes_by_family(options["options"]["pg"]["layouts"][0]["sizes"]),
        days=DAYS,
        hours=HOURS,
        typed=typed,
        refusal=refusal.message if refusal else "",
    )


ROUTES = (show_settings, change)
