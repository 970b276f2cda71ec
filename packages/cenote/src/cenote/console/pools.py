"""The connection pools of a cluster: live charts, advice, and the forms that change them."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from litestar import HttpMethod
from litestar.response.base import ASGIResponse
from litestar.types import Message, Receive, Scope, Send

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, show_cluster
from cenote.console.live_pools import LivePools, shown, view_of
from cenote.console.pool_charts import MANY, PoolSample, PoolTrail, points
from cenote.console.request import Typed, Visit, page

POOLS = PATH + "/pools"
FIELDS = ("size", "mode", "db", "user")
MODES = ("transaction", "session", "statement")
MOST_NAMES = 100  # suggested for a field


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
            return visit.go(f"{here}#pool-{name}", said=f"Pool {name} is ready.")
        place = path_of(id, "pools", name)
        pool = (await visit.api.get(place))["pool"]
        typed = Typed({key: str(pool[key]) for key in FIELDS} | typed.changed())
        await visit.api.put(place, _wanted(typed))
        return visit.go(f"{here}#pool-{name}", said=f"Pool {name} updated.")
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
    return visit.go(f"{address_of(visit)}/pools", said=f"Pool {name} deleted.")


@page(HttpMethod.GET, POOLS + "/stream")
async def stream(visit: Visit) -> ASGIResponse:
    """Live updates of the page, as server-sent events, until the session ends."""
    id = visit.path_params["id"]
    history = (await visit.api.get(path_of(id, "pool_history")))["history"]
    return _Stream(visit, path_of(id, "pool_stats", "stream"), _live(visit, history["pools"]))


def _live(visit: Visit, pools: list[Any]) -> LivePools:
    templates, form_token = visit.console.pages, visit.form_token

    def advised(advice: list[Any], pool: str) -> str:
        shown_for = {"name": pool} if pool else {}
        return templates.part(
            "pool.html", "advised", advice, shown_for, address_of(visit), visit.can, form_token
        )

    trails = {pool["name"]: PoolTrail.of_history(pool, points(len(pools))) for pool in pools}
    return LivePools(partial(templates.part, "pool.html"), advised, trails, time.time())


class _Stream(ASGIResponse):
    """The API's stream, translated for the page; an answer that is no stream is passed on as it is."""

    def __init__(self, visit: Visit, path: str, live: LivePools) -> None:
        super().__init__()
        self._visit, self._path, self._live = visit, path, live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit, live, streams = self._visit, self._live, False

        async def translate(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                streams = message["status"] == 200
            elif message["type"] == "http.response.body" and streams and message["body"]:
                message["body"] = live.translate(message["body"])
            await send(message)

        try:
            async with asyncio.timeout(max(0.0, visit.signed_in.ends - time.time())):
                await visit.api.follow(self._path, [], receive, translate, visit.method)
        except TimeoutError:
            over = b'event: end\ndata: {"reason":"The session has expired."}\n\n'
            await send({"type": "http.response.body", "body": over, "more_body": False})


async def _ask(visit: Visit, refusal: RequestRejected | None = None) -> ASGIResponse:
    return await show_cluster(
        visit,
        "delete.html",
        refusal.status if refusal else 200,
        kind="pool",
        tab_name="pools",
        name=visit.path_params["name"],
        lost="Its clients are disconnected and can no longer connect through it. No data is lost.",
        back=f"{address_of(visit)}/pools",
        refusal=refusal.message if refusal else "",
    )


async def _show(
    visit: Visit, typed: Typed | None = None, refusal: RequestRejected | None = None
) -> ASGIResponse:
    cluster, api = await cluster_of(visit), visit.api
    id = cluster["id"]
    pools = (await api.get(path_of(id, "pools"), per_page=200))["pools"]
    few = points(len(pools))
    history = (await api.get(path_of(id, "pool_history"), points=few))["history"]
    advice = (await api.get(path_of(id, "pool_advice")))["advice"]
    trails = {past["name"]: PoolTrail.of_history(past, few) for past in history["pools"]}
    unavailable, stats = "", {}
    try:
        found = (await api.get(path_of(id, "pool_stats")))["stats"]
        stats = {one["name"]: _current(one) for one in found}
    except RequestRejected as error:
        unavailable = error.message
    now = time.time()
    return await show_cluster(
        visit,
        "pools.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        pools=[
            pool
            | view_of(pool, trails.get(pool["name"]) or PoolTrail(few), stats.get(pool["name"]), now)
            | {"advice": [one for one in advice if one.get("pool") == pool["name"]]}
            for pool in pools
        ],
        advice=[one for one in advice if "pool" not in one],
        shown=shown(pools),
        unavailable=unavailable,
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


def _current(stats: Any) -> PoolSample:
    return PoolSample(
        size=stats["size"],
        active=stats["clients"]["active"],
        waiting=stats["clients"]["waiting"],
        busy=stats["servers"]["active"],
        wait=stats["longest_wait_seconds"],
        rate=stats["per_second"]["transactions"],
    )


def _whole(text: str) -> int | str:
    """Return a number if one was typed; the API refuses anything else, with the reason."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


ROUTES = (list_pools, change, stream, ask, delete)
