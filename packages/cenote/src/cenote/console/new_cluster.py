"""The form that creates a cluster, with what each size provides; it warns of what the host does not have."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPMethod
from typing import Any

from cenote.console import host_room
from cenote.console.api_client import RequestRejected
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response
from cenote.model import catalog

PATH = "/console/clusters/new"
FAMILIES = {
    "db-s": "Basic",
    "gd": "General purpose",
    "so1_5": "Storage-optimized",
    "db-intel": "Basic, Intel",
    "db-amd": "Basic, AMD",
}


@page(HTTPMethod.GET, PATH)
async def ask(request: ConsoleRequest) -> Response:
    return await _form(request, FormFields())


@page(HTTPMethod.POST, PATH)
async def create(request: ConsoleRequest) -> Response:
    form = await request.form_fields()
    size = catalog.SIZES.get(form["size"])
    # The API refuses what the token may not do; nothing needs to be confirmed for that.
    if size is not None and form["sure"] != size.slug and request.can("database:create"):
        options = await options_of(request)
        lacking = host_room.shortages(room_of(options), size)
        if lacking and not (form["host"] or form["zone"]):
            return await _form(request, form, lacking=lacking)
    wanted = {
        "name": form["name"],
        "engine": "pg",
        "version": form["version"] or None,
        "size": form["size"],
        "region": form["region"],
        "num_nodes": int(form["nodes"]) if form["nodes"].isdecimal() else 1,
        "tags": [tag for tag in form["tags"].replace(",", " ").split() if tag] or None,
        "cenote": {name: form[name] for name in ("host", "zone") if form[name]} or None,
    }
    try:
        made = (await request.api.post("/v2/databases", wanted))["database"]
    except RequestRejected as refusal:
        return await _form(request, form, refusal)
    return request.redirect(
        f"/console/clusters/{made['id']}", notice=f"{made['name']} is being created.", passing="status"
    )


async def options_of(request: ConsoleRequest) -> Any:
    """Return the options for new clusters."""
    return await request.api.get("/v2/databases/options")


def room_of(options: Any) -> Any:
    """Return the host that a new cluster would be placed on, None if there is none."""
    return options["cenote"].get("room")


def places_of(options: Any) -> list[Any]:
    """Return the hosts that run clusters; none for a token that may not create any."""
    found: list[Any] = options["cenote"].get("places", [])
    return found


async def _form(
    request: ConsoleRequest,
    form: FormFields,
    refusal: RequestRejected | None = None,
    lacking: list[str] | None = None,
) -> Response:
    options = await options_of(request)
    engine, room = options["options"]["pg"], room_of(options)
    ends = {one["version"]: one["end_of_life"] for one in options["version_availability"]["pg"]}
    return request.render(
        "new_cluster.html",
        refusal.status if refusal else 200,
        form=form,
        refusal=refusal.message if refusal else "",
        lacking=lacking or [],
        room=room,
        places=places_of(options),
        zones=sorted({place["zone"] for place in places_of(options)} - {""}),
        versions=[(version, ends.get(version)) for version in reversed(engine["versions"])],
        regions=engine["regions"],
        counts=[layout["num_nodes"] for layout in engine["layouts"]],
        families=sizes_by_family(engine["layouts"][0]["sizes"], room, _fits(options)),
        may_create=request.can("database:create"),
    )


def _fits(options: Any) -> dict[str, str]:
    """Return on which of several hosts each size fits, in words."""
    names = [place["name"] for place in places_of(options)]
    if len(names) < 2:
        return {}
    return {size["slug"]: fits_in_words(size["fits_on"], len(names)) for size in options["cenote"]["sizes"]}


def fits_in_words(names: list[str], hosts: int) -> str:
    """Return on which of so many hosts a size fits."""
    if len(names) == hosts:
        return "fits on all hosts"
    return f"fits on {', '.join(names)}" if names else "larger than what is left on any host"


def sizes_by_family(
    slugs: list[str], room: Any, fits: Mapping[str, str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Return what each size provides, by family, which is the prefix of its slug.

    ``fits`` says where sizes fit; without it, a size that is larger than the only host is marked.
    """
    families: dict[str, list[dict[str, Any]]] = {}
    for slug in slugs:
        size = catalog.SIZES.get(slug)
        if size is None:
            continue
        prefix = next((prefix for prefix in FAMILIES if slug.startswith(f"{prefix}-")), "")
        families.setdefault(FAMILIES.get(prefix, "Other"), []).append(
            {
                "slug": slug,
                "vcpus": size.vcpus,
                "memory_mib": size.memory_mib,
                "disk_mib": size.disk_mib,
                "connections": catalog.backend_connections(size),
                "pooled": catalog.pool_capacity(size),
                "clients": catalog.max_clients(size),
                "remark": (fits or {}).get(slug)
                or ("larger than the host" if host_room.is_larger(room, size) else ""),
            }
        )
    return families


ROUTES = (ask, create)
