"""The settings of a cluster: size, host, maintenance window, deletion."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any
from urllib.parse import quote

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.host_room import shortages
from cenote.console.new_cluster import options_of, room_of, sizes_by_family
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response
from cenote.model import catalog

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
                lacking = [] if form["sure"] == size else await _lacking(request, size)
                if lacking:
                    return await _show(request, form, lacking=lacking)
                nodes = int(form["nodes"]) if form["nodes"].isdecimal() else 0
                nodes = nodes or (await cluster_of(request))["num_nodes"]
                await request.api.put(path_of(id, "resize"), {"size": size, "num_nodes": nodes})
                return request.redirect(
                    address_of(request), notice=f"Resizing the cluster to {size}.", passing="status"
                )
            case "upgrade":
                version = form["version"]
                if form["rehearse"]:
                    await request.api.post(path_of(id, "upgrade/rehearsal"), {"version": version})
                    return request.redirect(f"{here}#upgrade", notice="The upgrade is being rehearsed.")
                await request.api.put(path_of(id, "upgrade"), {"version": version})
                return request.redirect(
                    address_of(request),
                    notice=f"Upgrading the cluster to PostgreSQL {version}.",
                    passing="status",
                )
            case "switch":
                wish: dict[str, Any] = {"candidate": form["candidate"]} if form["candidate"] else {}
                wish |= {"cut": True} if form["transactions"] == "cut" else {}
                begun = await request.api.post(path_of(id, "switchover"), wish)
                words = f"{begun['primary']} takes writes."
                if (switch := begun.get("switchover")) is not None:
                    words = f"Switching to {switch['to']}: {switch['reason']}."
                return request.redirect(address_of(request), notice=words, passing="status")
            case "stay":
                await request.api.delete(path_of(id, "switchover"))
                return request.redirect(f"{here}#switch", notice="The switch was given up.")
            case "move":
                wish = {"host": form["host"]} if form["host"] else {}
                move = (await request.api.post(path_of(id, "move"), wish))["move"]
                return request.redirect(
                    address_of(request), notice=f"Moving the cluster to {move['to']}.", passing="status"
                )
            case "cancel":
                await request.api.delete(path_of(id, "move"))
                return request.redirect(f"{here}#move", notice="The move was cancelled.")
            case "window":
                window = {"day": form["day"], "hour": form["hour"]}
                await request.api.put(path_of(id, "maintenance"), window)
                return request.redirect(
                    here,
                    notice=f"Updates are installed on {form['day'].capitalize()}s from {form['hour']} UTC.",
                )
            case "tag":
                await _tag(request, form["tag"])
                return request.redirect(f"{here}#tags", notice=f"Tag {form['tag']} added.")
            case "untag":
                await request.api.call("DELETE", _members(form["tag"]), _resource(id))
                return request.redirect(f"{here}#tags", notice=f"Tag {form['tag']} removed.")
            case "protect" | "unprotect":
                enabled = form["do"] == "protect"
                await request.api.put(path_of(id, "delete_protection"), {"enabled": enabled})
                words = "is protected from deletion" if enabled else "can be deleted"
                return request.redirect(f"{here}#delete", notice=f"The cluster {words}.")
            case "delete":
                cluster = await cluster_of(request)
                if form["name"] != cluster["name"]:
                    raise RequestRejected(422, f"Type the cluster's name to confirm: {cluster['name']}")
                await request.api.delete(path_of(id))
                return request.redirect("/console/clusters", notice=f"Cluster {cluster['name']} deleted.")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here)


async def _tag(request: ConsoleRequest, name: str) -> None:
    """Tag the cluster; the tag is created first if the token may do so."""
    if request.can("database:create"):
        await request.api.post("/v2/tags", {"name": name})
    await request.api.post(_members(name), _resource(request.path_params["id"]))


def _members(tag: str) -> str:
    return f"/v2/tags/{quote(tag, safe='')}/resources"


def _resource(id: str) -> Any:
    return {"resources": [{"resource_id": id, "resource_type": "database"}]}


async def _lacking(request: ConsoleRequest, slug: str) -> list[str]:
    """Return what the host lacks for the new size; known only with one host, which the cluster is on."""
    size, room = catalog.SIZES.get(slug), room_of(await options_of(request))
    if size is None or room is None or room["hosts"] > 1 or not request.can("database:update"):
        return []
    return shortages(room, size, instead_of=await cluster_of(request))


async def _show(
    request: ConsoleRequest,
    form: FormFields,
    refusal: RequestRejected | None = None,
    lacking: list[str] | None = None,
) -> Response:
    options, cluster = await options_of(request), await cluster_of(request)
    versions = options["options"]["pg"]["versions"]
    hosts = (await request.api.get("/v2/cenote/hosts"))["hosts"] if request.can("cenote:admin") else []
    return await render_cluster(
        request,
        "settings.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        lacking=lacking or [],
        hosts=[host for host in hosts if "database" in host["roles"]],
        counts=[layout["num_nodes"] for layout in options["options"]["pg"]["layouts"]],
        families=sizes_by_family(options["options"]["pg"]["layouts"][0]["sizes"], room_of(options)),
        undelete_days=cluster["cenote"].get("undelete_days", options["cenote"]["undelete_days"]),
        newer=[one for one in versions if int(one) > int(cluster["version"])],
        days=DAYS,
        hours=HOURS,
        form=form,
        refusal=refusal.message if refusal else "",
    )


ROUTES = (show_settings, change)
