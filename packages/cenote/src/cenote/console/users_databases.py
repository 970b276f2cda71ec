"""The users and the databases of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPMethod
from typing import Any

from cenote.console.api_client import NotAllowed, RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, FormFields, page
from cenote.console.sorting import Sorting
from cenote.http.routing import Response

USERS = PATH + "/users"
USER_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "name": lambda user: user["name"],
    "access": lambda user: user["cenote"].get("access") if "cenote" in user else None,
}
DATABASE_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "database": lambda database: database["name"],
    "owner": lambda database: database.get("cenote", {}).get("owner", "doadmin"),
}


@page(HTTPMethod.GET, USERS)
async def list_users(request: ConsoleRequest) -> Response:
    return await _show(request)


@page(HTTPMethod.POST, USERS)
async def change(request: ConsoleRequest) -> Response:
    form = await request.form_fields()
    id, here = request.path_params["id"], f"{address_of(request)}/users"
    try:
        match form["do"]:
            case "add user":
                wanted = {"name": form["name"], "cenote": {"access": form["access"] or None}}
                await request.api.post(path_of(id, "users"), wanted)
                return request.redirect(here, notice=f"User {wanted['name']} can log in.")
            case "show":
                return await _reveal(request, form["user"])
            case "add database":
                own = {"name": form["name"], "cenote": {"owner": form["owner"] or None}}
                await request.api.post(path_of(id, "dbs"), own)
                return request.redirect(here, notice=f"Database {own['name']} created.")
    except RequestRejected as refusal:
        return await _show(request, form, refusal)
    return request.redirect(here)


async def _reveal(request: ConsoleRequest, name: str) -> Response:
    """Show the password of a user, to a script or on the page."""
    user = (await request.api.get(path_of(request.path_params["id"], "users", name)))["user"]
    if "password" not in user:
        if "password" in user.get("cenote", {}):
            raise NotAllowed(409, f"The password of {name} was set by SQL, so it is not known here.")
        raise NotAllowed(403, "The token lacks the scope database:view_credentials.")
    if request.wants_json:
        return request.json({"texts": {"password": user["password"]}})
    return await _show(request, shown=user)


async def _just_reset(request: ConsoleRequest) -> Any:
    """Return the user whose password was reset by the last action, to show the new one once."""
    cluster, name = request.notice.password_of if request.notice else ("", "")
    if not name or cluster != request.path_params["id"] or not request.can("database:view_credentials"):
        return None
    user = (await request.api.get(path_of(cluster, "users", name)))["user"]
    return user if "password" in user else None  # SQL may have set another one meanwhile


async def _show(
    request: ConsoleRequest,
    form: FormFields | None = None,
    refusal: RequestRejected | None = None,
    shown: Mapping[str, str] | None = None,
) -> Response:
    cluster = await cluster_of(request)
    shown = shown or await _just_reset(request)
    databases = await request.api.get(path_of(cluster["id"], "dbs"), per_page=200)
    users = await request.api.get(path_of(cluster["id"], "users"), per_page=200)
    by_user = Sorting(request, USER_COLUMNS)
    by_database = Sorting(request, DATABASE_COLUMNS, "databases")
    return await render_cluster(
        request,
        "users.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        users=by_user.rows(users["users"]),
        users_sorting=by_user,
        more_users=users["meta"]["total"] - len(users["users"]),
        databases=by_database.rows(databases["dbs"]),
        databases_sorting=by_database,
        more_databases=databases["meta"]["total"] - len(databases["dbs"]),
        form=form or FormFields(),
        refusal=refusal.message if refusal else "",
        shown=shown,
    )


@page(HTTPMethod.GET, USERS + "/{name}/reset")
async def ask_reset(request: ConsoleRequest) -> Response:
    return await _ask_reset(request)


@page(HTTPMethod.POST, USERS + "/{name}/reset")
async def reset_password(request: ConsoleRequest) -> Response:
    id, name = request.path_params["id"], request.path_params["name"]
    try:
        await request.api.post(path_of(id, "users", name, "reset_auth"), {})
    except RequestRejected as refusal:
        return await _ask_reset(request, refusal)
    notice = f"Password of {name} reset; the old one no longer works."
    return request.redirect(f"{address_of(request)}/users", notice=notice, password_of=(id, name))


async def _ask_reset(request: ConsoleRequest, refusal: RequestRejected | None = None) -> Response:
    return await render_cluster(
        request,
        "confirm.html",
        refusal.status if refusal else 200,
        tab_name="users",
        question=f"Reset the password of {request.path_params['name']}?",
        consequences=[
            "The service generates a new password. Programs that use the old one can no longer connect; "
            "connections that are open stay open."
        ],
        button="Reset password",
        back=f"{address_of(request)}/users",
        refusal=refusal.message if refusal else "",
    )


@page(HTTPMethod.GET, USERS + "/{name}/delete")
async def ask_user(request: ConsoleRequest) -> Response:
    return await _ask(request, "user")


@page(HTTPMethod.POST, USERS + "/{name}/delete")
async def delete_user(request: ConsoleRequest) -> Response:
    return await _delete(request, "user", "users")


@page(HTTPMethod.GET, PATH + "/databases/{name}/delete")
async def ask_database(request: ConsoleRequest) -> Response:
    return await _ask(request, "database")


@page(HTTPMethod.POST, PATH + "/databases/{name}/delete")
async def delete_database(request: ConsoleRequest) -> Response:
    return await _delete(request, "database", "dbs")


async def _ask(request: ConsoleRequest, kind: str, refusal: RequestRejected | None = None) -> Response:
    lost = {
        "user": "The user can no longer log in. Objects that it owns pass to doadmin.",
        "database": "All data in the database is lost, and its sessions are terminated.",
    }[kind]
    return await render_cluster(
        request,
        "delete.html",
        refusal.status if refusal else 200,
        kind=kind,
        name=request.path_params["name"],
        lost=lost,
        back=f"{address_of(request)}/users",
        refusal=refusal.message if refusal else "",
    )


async def _delete(request: ConsoleRequest, kind: str, noun: str) -> Response:
    name = request.path_params["name"]
    try:
        await request.api.delete(path_of(request.path_params["id"], noun, name))
    except RequestRejected as refusal:
        return await _ask(request, kind, refusal)
    return request.redirect(f"{address_of(request)}/users", notice=f"{kind.capitalize()} {name} deleted.")


ROUTES = (
    *(list_users, change, ask_reset, reset_password),
    *(ask_user, delete_user, ask_database, delete_database),
)
