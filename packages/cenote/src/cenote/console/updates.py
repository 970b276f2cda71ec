"""Restarts that wait for the maintenance window, now: asked for after saying what they do to clients."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response

RESTART = PATH + "/settings/restart"
POOLER = "PgBouncer"  # in the description of what waits
_HELD = (
    "Clients of transaction and statement pools stay connected. They are held until open transactions and "
    "sessions of session pools have ended, ten seconds at most, and while PostgreSQL restarts, which takes "
    "about a second. A transaction that is still open after ten seconds is rolled back."
)
_HELD_ONCE = (
    "The nodes are restarted one at a time. Clients of transaction and statement pools stay connected. They "
    "are held once, for about a second, while another node takes writes. No open transaction is ended."
)
_POOLS = "The restart of PgBouncer disconnects the clients of all pools. They can reconnect at once."
_DISCONNECTED = (
    "Clients of session pools and of the direct port are disconnected, and their open transactions are "
    "rolled back. They can reconnect as soon as PostgreSQL has restarted."
)


@page(HTTPMethod.GET, RESTART)
async def ask(request: ConsoleRequest) -> Response:
    cluster = await cluster_of(request)
    if not cluster["maintenance_window"]["pending"]:
        return request.redirect(f"{address_of(request)}/settings", notice="No restart is pending.")
    return await _ask(request, cluster)


@page(HTTPMethod.POST, RESTART)
async def restart(request: ConsoleRequest) -> Response:
    try:
        await request.api.put(path_of(request.path_params["id"], "install_update"))
    except RequestRejected as refusal:
        return await _ask(request, await cluster_of(request), refusal)
    is_waiting = (await cluster_of(request))["maintenance_window"]["pending"]
    told = "The restart was requested." if is_waiting else "Restarted. No restart is pending."
    return request.redirect(address_of(request), notice=told)


async def _ask(request: ConsoleRequest, cluster: Any, refusal: RequestRejected | None = None) -> Response:
    return await render_cluster(
        request,
        "confirm.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        tab_name="settings",
        question=f"Restart {cluster['name']} now?",
        consequences=consequences(cluster),
        button="Restart now",
        back=f"{address_of(request)}/settings#update",
        refusal=refusal.message if refusal else "",
    )


def consequences(cluster: Any) -> list[str]:
    """Return what is restarted, when it would be otherwise, and what clients notice of it."""
    window = cluster["maintenance_window"]
    begins = f"{window['day'].capitalize()} from {window['hour'][:5]} UTC"
    lines = [f"Waiting for the maintenance window ({begins}): {'; '.join(window['description'])}."]
    has_pooler = any(POOLER in line for line in window["description"])
    if has_pooler:
        lines.append(_POOLS)
    if not all(POOLER in line for line in window["description"]):
        held = _HELD if cluster["num_nodes"] == 1 else _HELD_ONCE
        lines += [] if has_pooler else [held]
        lines.append(_DISCONNECTED)
    return lines


ROUTES = (ask, restart)
