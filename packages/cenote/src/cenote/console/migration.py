"""Online migration into a cluster: the source, how far the copy is, and its end."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

from cenote.console.api_client import ApiError, RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response

MIGRATE = PATH + "/migrate"
NOT_FOUND = 404
PORT = 5432
OVER = ("done", "canceled", "error")


@page(HTTPMethod.GET, MIGRATE)
async def show_migration(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, MIGRATE)
async def change(request: ConsoleRequest) -> Response:
    form, id, here = await request.form_fields(), request.path_params["id"], f"{address_of(request)}/migrate"
    place = path_of(id, "online-migration")
    try:
        match form["do"]:
            case "start":
                await request.api.put(place, _wanted(form))
                words = "The databases are being copied."
            case "finish":
                await request.api.post(path_of(id, "online-migration", form["migration"], "finish"), {})
                words = "The migration is being finished."
            case "stop":
                await request.api.delete(path_of(id, "online-migration", form["migration"]))
                words = "The migration is being stopped."
            case _:
                return request.redirect(here)
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here, notice=words, passing="status")


def _wanted(form: FormFields) -> dict[str, Any]:
    """Return the request; a port that is none is refused by the API as 0."""
    port = form["port"] or str(PORT)
    source = {
        "host": form["host"],
        "port": int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0,
        "username": form["username"],
        "password": form["password"],
    }
    if form["dbname"]:
        source["dbname"] = form["dbname"]
    return {
        "source": source,
        "disable_ssl": form["unencrypted"] == "yes",
        "ignore_dbs": [name for line in form["ignored"].splitlines() if (name := line.strip())],
        "cenote": {"replica_identity_full": form["full"] == "yes"},
    }


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    migration = await _last(request)
    return await render_cluster(
        request,
        "migrate.html",
        refusal.status if refusal else 200,
        cluster=await cluster_of(request),
        migration=migration,
        working=migration is not None and migration["status"] not in OVER,
        form=form,
        refusal=refusal.message if refusal else "",
    )


async def _last(request: ConsoleRequest) -> Any:
    """Return the last migration into the cluster, None without one."""
    try:
        return await request.api.get(path_of(request.path_params["id"], "online-migration"))
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None
        raise


ROUTES = (show_migration, change)
