"""A fork of a cluster: a new one with its data, as they are now or were at a moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPMethod
from typing import Any

from cenote.console import backup_bar
from cenote.console.api_client import RequestRejected
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.new_cluster import options_of, sizes_by_family
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response

FORK = PATH + "/backups/fork"
SUFFIX, LONGEST_NAME = "-fork", 63
_OFFSET = re.compile(r"(Z|[+-][0-9]{2}:?[0-9]{2})$", re.ASCII | re.IGNORECASE)


@page(HTTPMethod.GET, FORK)
async def ask(request: ConsoleRequest) -> Response:
    at = request.query_params.get("at", "")[:40].removesuffix("Z")
    return await _ask(request, FormFields(at=at))


@page(HTTPMethod.POST, FORK)
async def fork(request: ConsoleRequest) -> Response:
    form, source = await request.form_fields(), await cluster_of(request)
    try:
        made = (await request.api.post("/v2/databases", wanted(form, source)))["database"]
    except RequestRejected as refusal:
        return await _ask(request, form, refusal)
    told = f"{made['name']} is being created from the data of {source['name']}."
    return request.redirect(f"/console/clusters/{made['id']}", notice=told, passing="status")


async def _ask(request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None) -> Response:
    source = await cluster_of(request)
    state = source["cenote"].get("backups")
    layouts = (await options_of(request))["options"]["pg"]["layouts"]
    sizes = layouts[0]["sizes"]
    return await render_cluster(
        request,
        "fork.html",
        refusal.status if refusal else 200,
        cluster=source,
        kept=state if state is not None and state["count"] else None,
        words=backup_bar.in_words(state) if state is not None else "",
        name=form["name"] or f"{source['name'][: LONGEST_NAME - len(SUFFIX)]}{SUFFIX}",
        families=sizes_by_family(sizes, None),
        counts=[layout["num_nodes"] for layout in layouts],
        form=form,
        refusal=refusal.message if refusal else "",
        back=f"{address_of(request)}/backups",
    )


def wanted(form: Mapping[str, str], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the API call; with another size, the storage is that of the size."""
    restore = {"database_name": source["name"]}
    if form["at"]:
        restore["backup_created_at"] = in_rfc3339(form["at"])
    body = {
        "name": form["name"],
        "engine": "pg",
        "num_nodes": int(form["nodes"]) if form["nodes"].isdecimal() else source["num_nodes"],
        "size": form["size"] or source["size"],
        "region": source["region"],
        "backup_restore": restore,
    }
    return body if body["size"] != source["size"] else body | {"storage_size_mib": source["storage_size_mib"]}


def in_rfc3339(text: str) -> str:
    """Return a moment that was typed, in UTC if it does not say otherwise; the API judges the rest."""
    text = text.upper().removesuffix("UTC").strip()
    return text if _OFFSET.search(text) else f"{text}Z"


ROUTES = (ask, fork)
