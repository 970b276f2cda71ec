"""The nodes of a cluster as a picture, and its read replicas, with what can be done with both."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.new_cluster import options_of, places_of
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response

NODES = PATH + "/nodes"
ONE = NODES + "/replicas/{name}"
MOST_REPLICAS = 200  # shown
_PROMOTED = (
    "It becomes a cluster of its own, with the same id and connection strings, and takes writes.",
    "It follows {source} no more. There is no way back: to follow it again, add another replica.",
)


@page(HTTPMethod.GET, NODES)
async def show_nodes(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, NODES)
async def change(request: ConsoleRequest) -> Response:
    form, id, here = await request.form_fields(), request.path_params["id"], f"{address_of(request)}/nodes"
    try:
        match form["do"]:
            case "switch":
                begun = await request.api.post(path_of(id, "switchover"), {"candidate": form["candidate"]})
                words = f"{begun['primary']} takes writes."
                if (switch := begun.get("switchover")) is not None:
                    words = f"Switching to {switch['to']}: {switch['reason']}."
                return request.redirect(here, notice=words, passing="status")
            case "count":
                size, count = (await cluster_of(request))["size"], _whole(form["count"])
                await request.api.put(path_of(id, "resize"), {"size": size, "num_nodes": count})
                words = f"The cluster gets {count} node{'s' if count != 1 else ''}."
                return request.redirect(here, notice=words, passing="status")
            case "add":
                replica = (await request.api.post(path_of(id, "replicas"), _wanted(form)))["replica"]
                words = f"Read replica {replica['name']} is being made."
                return request.redirect(f"{here}#replicas", notice=words, passing="status")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here)


def _wanted(form: FormFields) -> dict[str, Any]:
    wish = {"host": form["host"]} if form["host"] else None
    return {"name": form["name"], "region": form["region"], "size": form["size"], "cenote": wish}


@page(HTTPMethod.GET, ONE + "/delete")
async def ask_to_delete(request: ConsoleRequest) -> Response:
    return await _ask_to_delete(request)


@page(HTTPMethod.POST, ONE + "/delete")
async def delete(request: ConsoleRequest) -> Response:
    name = request.path_params["name"]
    try:
        await request.api.delete(path_of(request.path_params["id"], "replicas", name))
    except RequestRejected as refusal:
        return await _ask_to_delete(request, refusal)
    return request.redirect(f"{address_of(request)}/nodes", notice=f"Read replica {name} deleted.")


@page(HTTPMethod.GET, ONE + "/promote")
async def ask_to_promote(request: ConsoleRequest) -> Response:
    return await _ask_to_promote(request)


@page(HTTPMethod.POST, ONE + "/promote")
async def promote(request: ConsoleRequest) -> Response:
    id, name = request.path_params["id"], request.path_params["name"]
    try:
        replica = (await request.api.get(path_of(id, "replicas", name)))["replica"]
        await request.api.put(path_of(id, "replicas", name, "promote"))
    except RequestRejected as refusal:
        return await _ask_to_promote(request, refusal)
    words = f"{name} is a cluster of its own as soon as it has all data."
    return request.redirect(f"/console/clusters/{replica['id']}", notice=words, passing="status")


async def _ask_to_delete(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    return await render_cluster(
        request,
        "delete.html",
        refusal.status if refusal else 200,
        kind="read replica",
        tab_name="nodes",
        name=request.path_params["name"],
        lost="Its clients are disconnected, and its pools are removed. No data is lost.",
        back=f"{address_of(request)}/nodes",
        refusal=refusal.message if refusal else "",
    )


async def _ask_to_promote(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    cluster, name = await cluster_of(request), request.path_params["name"]
    return await render_cluster(
        request,
        "confirm.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        tab_name="nodes",
        question=f"Promote read replica {name}?",
        consequences=[line.format(source=cluster["name"]) for line in _PROMOTED],
        button="Promote",
        back=f"{address_of(request)}/nodes",
        refusal=refusal.message if refusal else "",
    )


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    cluster, options = await cluster_of(request), await options_of(request)
    is_replica = "replica_of" in cluster["cenote"]
    replicas = []
    if not is_replica:
        found = await request.api.get(path_of(cluster["id"], "replicas"), per_page=MOST_REPLICAS)
        replicas = found["replicas"]
    layouts = options["options"]["pg"]["layouts"]
    return await render_cluster(
        request,
        "nodes.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        source=await _source(request, cluster) if is_replica else None,
        replicas=replicas,
        counts=[layout["num_nodes"] for layout in layouts],
        sizes=layouts[0]["sizes"],
        regions=options["options"]["pg"]["regions"],
        places=places_of(options),
        form=form,
        refusal=refusal.message if refusal else "",
    )


async def _source(request: ConsoleRequest, replica: Any) -> Any:
    return (await request.api.get(path_of(replica["cenote"]["replica_of"])))["database"]


def _whole(text: str) -> int:
    """Return a number; what is none is refused by the API as 0."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


ROUTES = (show_nodes, change, ask_to_delete, delete, ask_to_promote, promote)
