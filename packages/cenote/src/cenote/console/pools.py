"""The connection pools of a cluster: live charts, advice, and the forms that change them."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from http import HTTPMethod
from typing import Any

from cenote.console.api_client import RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.live_pools import LivePools, shown, view_of
from cenote.console.pool_charts import MANY, RANGES, PoolSample, PoolTrail, points
from cenote.console.pool_range import ORDERS, PoolRange
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Message, Receive, Response, Scope, Send

POOLS = PATH + "/pools"
FIELDS = ("size", "mode", "db", "user")
MODES = ("transaction", "session", "statement")
MAX_SUGGESTIONS = 100  # suggested for a field


@page(HTTPMethod.GET, POOLS)
async def list_pools(request: ConsoleRequest) -> Response:
    return await _show(request)


@page(HTTPMethod.POST, POOLS)
async def change(request: ConsoleRequest) -> Response:
    form = await request.form_fields()
    id, name = request.path_params["id"], form["name"]
    here = f"{address_of(request)}/pools{PoolRange(request).query()}"
    try:
        if form["do"] == "create":
            await request.api.post(path_of(id, "pools"), {"name": name} | _wanted(form))
            return request.redirect(f"{here}#pool-{name}", notice=f"Pool {name} is ready.")
        if not name:
            return request.redirect(here)
        place = path_of(id, "pools", name)
        if form["do"] == "reconnect":
            made = (await request.api.post(path_of(id, "pools", name, "reconnect")))["reconnect"]
            return request.redirect(f"{here}#pool-{name}", notice=_reconnected(made))
        pool = (await request.api.get(place))["pool"]
        form = FormFields({key: str(pool[key]) for key in FIELDS} | form.changed())
        await request.api.put(place, _wanted(form))
        return request.redirect(f"{here}#pool-{name}", notice=f"Pool {name} updated.")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)


def _reconnected(made: Any) -> str:
    name, left = made["pool"], made["connections_left"]
    if left == 0:
        return f"The server connections of pool {name} were replaced."
    number = "The" if left is None else str(left)
    return f"{number} server connections of pool {name} are replaced when their clients release them."


def _wanted(form: FormFields) -> dict[str, Any]:
    return {key: form[key] for key in FIELDS} | {"size": _whole(form["size"])}


@page(HTTPMethod.GET, POOLS + "/{name}/delete")
async def ask(request: ConsoleRequest) -> Response:
    return await _ask(request)


@page(HTTPMethod.POST, POOLS + "/{name}/delete")
async def delete(request: ConsoleRequest) -> Response:
    name = request.path_params["name"]
    try:
        await request.api.delete(path_of(request.path_params["id"], "pools", name))
    except RequestRejected as refusal:
        return await _ask(request, refusal)
    return request.redirect(f"{address_of(request)}/pools", notice=f"Pool {name} deleted.")


@page(HTTPMethod.GET, POOLS + "/stream")
async def stream(request: ConsoleRequest) -> Response:
    """Live updates of the page, as server-sent events, until the session ends."""
    id = request.path_params["id"]
    chosen = PoolRange(request)
    recent, older = await chosen.histories()
    trails = chosen.trails(recent, older, points(len(recent["pools"])))
    return _Stream(request, path_of(id, "pool_stats", "stream"), _live(request, chosen, trails))


def _live(request: ConsoleRequest, chosen: PoolRange, trails: dict[str, PoolTrail]) -> LivePools:
    templates, form_token = request.console.pages, request.form_token

    def advised(advice: list[Any], pool: str) -> str:
        shown_for = {"name": pool} if pool else {}
        place = (address_of(request), request.can, form_token, chosen.query())
        return templates.part("pool.html", "advised", advice, shown_for, *place)

    return LivePools(partial(templates.part, "pool.html"), advised, trails, time.time())


class _Stream(Response):
    """The API's stream, translated for the page; an answer that is no stream is passed on as it is."""

    def __init__(self, request: ConsoleRequest, path: str, live: LivePools) -> None:
        super().__init__()
        self._request, self._path, self._live = request, path, live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, live, streams = self._request, self._live, False

        async def translate(message: Message) -> None:
            nonlocal streams
            if message["type"] == "http.response.start":
                streams = message["status"] == 200
            elif message["type"] == "http.response.body" and streams and message["body"]:
                message["body"] = live.translate(message["body"])
            await send(message)

        try:
            async with asyncio.timeout(max(0.0, request.current_session.ends - time.time())):
                await request.api.follow(self._path, [], receive, translate, request.method)
        except TimeoutError:
            over = b'event: end\ndata: {"reason":"The session has expired."}\n\n'
            await send({"type": "http.response.body", "body": over, "more_body": False})


async def _ask(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    return await render_cluster(
        request,
        "delete.html",
        refusal.status if refusal else 200,
        kind="pool",
        tab_name="pools",
        name=request.path_params["name"],
        lost="Its clients are disconnected and can no longer connect through it. No data is lost.",
        back=f"{address_of(request)}/pools",
        refusal=refusal.message if refusal else "",
    )


async def _show(
    request: ConsoleRequest, form: FormFields | None = None, refusal: RequestRejected | None = None
) -> Response:
    cluster, api = await cluster_of(request), request.api
    id = cluster["id"]
    pools = (await api.get(path_of(id, "pools"), per_page=200))["pools"]
    few = points(len(pools))
    chosen = PoolRange(request)
    history, older = await chosen.histories(few)
    advice = (await api.get(path_of(id, "pool_advice")))["advice"]
    trails = chosen.trails(history, older, few)
    unavailable, stats, not_counted = "", {}, []
    try:
        found = await api.get(path_of(id, "pool_stats"))
        stats = {one["name"]: _current(one) for one in found["stats"]}
        not_counted = found.get("not_counted", [])
    except RequestRejected as error:
        unavailable = error.message
    now = time.time()
    return await render_cluster(
        request,
        "pools.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        pools=[
            pool
            | view_of(
                pool,
                trails.get(pool["name"]) or PoolTrail(few, chosen.minutes),
                stats.get(pool["name"]),
                now,
            )
            | {"advice": [one for one in advice if one.get("pool") == pool["name"]]}
            for pool in chosen.sorting.rows(pools)
        ],
        allocated=pools,
        chosen=chosen,
        ranges=RANGES,
        orders=ORDERS,
        advice=[one for one in advice if "pool" not in one],
        shown=shown(pools),
        unavailable=unavailable,
        not_counted=not_counted,
        budget=history["connections"],
        modes=MODES,
        databases=cluster["db_names"][:MAX_SUGGESTIONS],
        users=[user["name"] for user in cluster["users"][:MAX_SUGGESTIONS]],
        still="still" in request.query_params,
        many=len(pools) > MANY,
        changing=request.query_params.get("change", ""),
        form=form or FormFields(),
        refusal=refusal.message if refusal else "",
    )


def _current(stats: Any) -> PoolSample:
    return PoolSample(
        size=stats["size"] * stats["poolers"],
        active=stats["clients"]["active"],
        waiting=stats["clients"]["waiting"],
        busy=stats["servers"]["active"],
        wait=stats["longest_wait_seconds"],
        rate=stats["per_second"]["transactions"],
    )


def _whole(text: str) -> int | str:
    """Return a number if the text is one; the API rejects anything else, with the reason."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


ROUTES = (list_pools, change, stream, ask, delete)
