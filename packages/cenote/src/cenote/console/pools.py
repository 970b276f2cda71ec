"""The pools of a cluster: what goes on in them, as pictures that move; and how they are changed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from litestar import HttpMethod
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from cenote.console import svg
from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, show_cluster
from cenote.console.request import Typed, Visit, page

POOLS = PATH + "/pools"
POINTS, FEW_POINTS = 60, 24  # of a picture that the server draws
MANY = 8  # pools, from which on pictures have fewer points and a form is shown when it is asked for
MORE_POINTS = 450  # and of one that the script does
FIELDS = ("size", "mode", "db", "user")
MODES = ("transaction", "session", "statement")
MOST_NAMES = 100  # that are proposed for a field


@page(HttpMethod.GET, POOLS)
async def list_pools(visit: Visit) -> ASGIResponse:
    return await _show(visit)


@page(HttpMethod.POST, POOLS)
async def change(visit: Visit) -> ASGIResponse:
    typed = await visit.typed()
    id, here, name = visit.path_params["id"], f"{address_of(visit)}/pools", typed["name"]
    try:
        if typed["do"] == "create":
            await visit.api.post(path_of(id, "pools"), {"name": name} | _wanted(typed))
            return visit.go(f"{here}#pool-{name}", said=f"The pool {name} can be used.")
        place = path_of(id, "pools", name)
        pool = (await visit.api.get(place))["pool"]
        typed = Typed({key: str(pool[key]) for key in FIELDS} | typed.changed())
        await visit.api.put(place, _wanted(typed))
        return visit.go(f"{here}#pool-{name}", said=f"The pool {name} was changed.")
    except RequestRejected as refusal:
        return await _show(visit, typed, refusal)


def _wanted(typed: Typed) -> dict[str, Any]:
    return {key: typed[key] for key in FIELDS} | {"size": _whole(typed["size"])}


@page(HttpMethod.GET, POOLS + "/{name:str}/delete")
async def ask(visit: Visit) -> ASGIResponse:
    return await _ask(visit)


@page(HttpMethod.POST, POOLS + "/{name:str}/delete")
async def delete(visit: Visit) -> ASGIResponse:
    name = visit.path_params["name"]
    try:
        await visit.api.delete(path_of(visit.path_params["id"], "pools", name))
    except RequestRejected as refusal:
        return await _ask(visit, refusal)
    return visit.go(f"{address_of(visit)}/pools", said=f"The pool {name} was deleted.")


@page(HttpMethod.GET, POOLS + "/past")
async def past(visit: Visit) -> ASGIResponse:
    """The last 15 minutes, for the script to draw."""
    found = await visit.api.get(path_of(visit.path_params["id"], "pool_history"), points=MORE_POINTS)
    return visit.json(found["history"]["pools"])


@page(HttpMethod.GET, POOLS + "/stream")
async def stream(visit: Visit) -> ASGIResponse:
    """What goes on, as it happens: the API's own stream, until the session is over."""
    return _Stream(visit, path_of(visit.path_params["id"], "pool_stats", "stream"))


class _Stream(ASGIResponse):
    def __init__(self, visit: Visit, path: str) -> None:
        super().__init__()
        self._visit, self._path = visit, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._visit
        last = visit.headers.get("last-event-id", "").encode("latin-1", "replace")
        headers = [(b"last-event-id", last)] if last else []
        try:
            async with asyncio.timeout(max(0.0, visit.signed_in.ends - time.time())):
                await visit.api.follow(self._path, headers, receive, send, visit.method)
        except TimeoutError:
            over = b'event: end\ndata: {"reason":"The session is over."}\n\n'
            await send({"type": "http.response.body", "body": over, "more_body": False})


async def _ask(visit: Visit, refusal: RequestRejected | None = None) -> ASGIResponse:
    return await show_cluster(
        visit,
        "delete.html",
        refusal.status if refusal else 200,
        kind="pool",
        tab_name="pools",
        name=visit.path_params["name"],
        lost="Its clients are disconnected, and cannot come back. The data stays.",
        back=f"{address_of(visit)}/pools",
        refusal=refusal.message if refusal else "",
    )


async def _show(
    visit: Visit, typed: Typed | None = None, refusal: RequestRejected | None = None
) -> ASGIResponse:
    cluster, api = await cluster_of(visit), visit.api
    id = cluster["id"]
    pools = (await api.get(path_of(id, "pools"), per_page=200))["pools"]
    points = FEW_POINTS if len(pools) > MANY else POINTS
    history = (await api.get(path_of(id, "pool_history"), points=points))["history"]
    advice = (await api.get(path_of(id, "pool_advice")))["advice"]
    unseen, stats = "", []
    try:
        stats = (await api.get(path_of(id, "pool_stats")))["stats"]
    except RequestRejected as error:
        unseen = error.message
    now = time.time()
    return await show_cluster(
        visit,
        "pools.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        pools=[
            _pool(pool, _named(stats, pool), _named(history["pools"], pool), advice, now) for pool in pools
        ],
        advice=[one for one in advice if "pool" not in one],
        unseen=unseen,
        budget=history["connections"],
        modes=MODES,
        databases=cluster["db_names"][:MOST_NAMES],
        users=[user["name"] for user in cluster["users"][:MOST_NAMES]],
        still="still" in visit.query_params,
        many=len(pools) > MANY,
        changing=visit.query_params.get("change", ""),
        typed=typed or Typed(),
        refusal=refusal.message if refusal else "",
    )


def _named(things: list[Any], pool: Any) -> Any:
    return next((one for one in things if one["name"] == pool["name"]), None)


def _pool(pool: Any, now_seen: Any, past: Any, advice: list[Any], now: float) -> Any:
    """Return what the template shows of a pool."""
    return {
        "name": pool["name"],
        "mode": pool["mode"],
        "size": pool["size"],
        "db": pool["db"],
        "user": pool["user"],
        "seen": now_seen,
        "pictures": pictures(past, pool["size"], now),
        "rate": past["transactions_per_second"][-1] if past["at"] else None,
        "told": _told(past),
        "advice": [one for one in advice if one.get("pool") == pool["name"]],
    }


def pictures(past: Any, size: int, now: float) -> Any:
    at = past["at"]
    active, waiting = past["clients_active"], past["clients_waiting"]
    longest = past["longest_wait_seconds"]
    clients = [one + other for one, other in zip(active, waiting, strict=True)]
    tops = {
        "clients": svg.top_of(max(clients, default=0), 5),
        "servers": max([size, *past["size"]]) * 1.15,
        "wait": svg.top_of(max(longest, default=0), 0.1),
        "rate": svg.top_of(max(past["transactions_per_second"], default=0), 10),
    }
    return {
        "tops": tops,
        "active": svg.area(at, active, tops["clients"], now),
        "waiting": svg.area(at, clients, tops["clients"], now, lower=active) if any(waiting) else "",
        "busy": svg.area(at, past["servers_active"], tops["servers"], now),
        "size": svg.steps(at, past["size"], tops["servers"], now),
        "wait": svg.area(at, longest, tops["wait"], now) if any(longest) else "",
        "rate": svg.area(at, past["transactions_per_second"], tops["rate"], now),
    }


def _told(past: Any) -> Any:
    """Return the last 15 minutes in a few numbers, for whoever does not see the pictures."""
    if not past["at"]:
        return None
    return {
        "clients": max(past["clients_active"]),
        "waiting": max(past["clients_waiting"]),
        "busy": max(past["servers_active"]),
        "wait": max(past["longest_wait_seconds"]),
        "rate": max(past["transactions_per_second"]),
    }


def _whole(text: str) -> int | str:
    """Return a number where one was typed; the API says what is wrong with everything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


ROUTES = (list_pools, change, past, stream, ask, delete)
