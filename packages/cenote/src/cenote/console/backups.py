"""The backups of a cluster: what can be restored, the list, the schedule; a backup or a drill now."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod
from typing import Any

from cenote.console import backup_bar
from cenote.console.api_client import RequestRejected, path_of
from cenote.console.backup_bar import BackupBar
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.http.routing import Response
from cenote.rules import archiving

BACKUPS = PATH + "/backups"
MOST = 200  # an agent tells of no more
TYPES = {"full": "Full", "diff": "Differential", "incr": "Incremental"}
HOURS = tuple(str(hour) for hour in range(24))


@page(HTTPMethod.GET, BACKUPS)
async def show_backups(request: ConsoleRequest) -> Response:
    return await _show(request, FormFields())


@page(HTTPMethod.POST, BACKUPS)
async def change(request: ConsoleRequest) -> Response:
    form, here = await request.form_fields(), f"{address_of(request)}/backups"
    try:
        match form["do"]:
            case "now":
                await request.api.post(_place(request))
                return request.redirect(here, notice="A backup was requested.")
            case "drill":
                await request.api.post(f"{_place(request)}/drills")
                return request.redirect(f"{here}#drills", notice="A restore drill was requested.")
            case "schedule":
                await request.api.patch(
                    path_of(request.path_params["id"], "config"), {"config": _schedule(form)}
                )
                return request.redirect(f"{here}#schedule", notice="Schedule saved.")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here)


async def _show(
    request: ConsoleRequest, form: FormFields, refusal: RequestRejected | None = None
) -> Response:
    cluster = await cluster_of(request)
    state = cluster["cenote"].get("backups")
    config = (await request.api.get(path_of(cluster["id"], "config")))["config"]
    backups = await _backups(request) if state is not None and state["count"] else []
    return await render_cluster(
        request,
        "backups.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        kept=state,
        backups=backups[::-1],
        bar=BackupBar.of(state, backups, datetime.now(UTC)) if backups else None,
        words=backup_bar.in_words(state) if state is not None else "",
        waits=state is not None and archiving.waits_for_restart(state["unarchived"]),
        types=TYPES,
        now_text=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        hours=HOURS,
        chosen={name: config.get(f"backup_{name}") for name in ("hour", "minute")},
        form=form,
        refusal=refusal.message if refusal else "",
    )


async def _backups(request: ConsoleRequest) -> list[Any]:
    """Return the backups, the oldest first; none if they were lost a moment ago."""
    try:
        found: list[Any] = (await request.api.get(_place(request), per_page=MOST))["backups"]
    except RequestRejected:
        return []
    return found


def _schedule(form: FormFields) -> dict[str, int | str | None]:
    """Return both settings: without an hour the service chooses; what is no number the API refuses."""
    if not form["hour"]:
        return {"backup_hour": None, "backup_minute": None}
    return {"backup_hour": _number(form["hour"]), "backup_minute": _number(form["minute"] or "0")}


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else text


def _place(request: ConsoleRequest) -> str:
    return path_of(request.path_params["id"], "backups")


ROUTES = (show_backups, change)
