"""The settings of a cluster: size, maintenance window, updates, deletion."""

from __future__ import annotations

from http import HTTPMethod

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.new_cluster import sizes_by_family
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response

SETTINGS = PATH + "/settings"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOURS = tuple(f"{hour:02}:00" for hour in range(24))


@page(HTTPMethod.GET, SETTINGS)
async def show_settings(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, SETTINGS)
async def change(request: ConsoleRequest) -> Response:
    form = await request.form_fields()
    id, here = request.path_params["id"], f"{address_of(request)}/settings"
    try:
        match form["do"]:
            case "resize":
                size = form["size"]
                await request.api.put(path_of(id, "resize"), {"size": size, "num_nodes": 1})
                return request.redirect(address_of(request), notice=f"Resizing the cluster to {size}.")
            case "window":
                window = {"day": form["day"], "hour": form["hour"]}
                await request.api.put(path_of(id, "maintenance"), window)
                return request.redirect(
                    here,
                    notice=f"Updates are installed on {form['day'].capitalize()}s from {form['hour']} UTC.",
                )
            case "update":
                await request.api.put(path_of(id, "install_update"))
                return request.redirect(here, notice="All servers run the versions installed on the host.")
            case "delete":
                cluster = await cluster_of(request)
                if form["name"] != cluster["name"]:
                    raise RequestRejected(422, f"Type the cluster's name to confirm: {cluster['name']}")
                await request.api.delete(path_of(id))
                return request.redirect("/console/clusters", notice=f"Cluster {cluster['name']} deleted.")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here)


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    options = await request.api.get("/v2/databases/options")
    return await render_cluster(
        request,
        "settings.html",
        refusal.status if refusal else 200,
        families=sizes_by_family(options["options"]["pg"]["layouts"][0]["sizes"]),
        days=DAYS,
        hours=HOURS,
        form=form,
        refusal=refusal.message if refusal else "",
    )


ROUTES = (show_settings, change)
