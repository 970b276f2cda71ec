"""The users and the databases of a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import HttpMethod
from litestar.response.base import ASGIResponse

from cenote.console.api_client import NotAllowed, RequestRejected, path_of
from cenote.console.cluster import PATH, address_of, cluster_of, show_cluster
from cenote.console.request import Typed, Visit, page

USERS = PATH + "/users"


@page(HttpMethod.GET, USERS)
async def list_users(visit: Visit) -> ASGIResponse:
    return await _show(visit)


@page(HttpMethod.POST, USERS)
async def change(visit: Visit) -> ASGIResponse:
    typed = await visit.typed()
    id, here = visit.path_params["id"], f"{address_of(visit)}/users"
    try:
        match typed["do"]:
            case "add user":
                wanted = {"name": typed["name"], "cenote": {"access": typed["access"] or None}}
                await visit.api.post(path_of(id, "users"), wanted)
                return visit.go(here, said=f"User {wanted['name']} can log in.")
            case "reset":
                await visit.api.post(path_of(id, "users", typed["user"], "reset_auth"), {})
                return visit.go(here, said=f"Password of {typed['user']} reset; the old one no longer works.")
            case "show":
                return await _reveal(visit, typed["user"])
            case "add database":
                own = {"name": typed["name"], "cenote": {"owner": typed["owner"] or None}}
                await visit.api.post(path_of(id, "dbs"), own)
                return visit.go(here, said=f"Database {own['name']} created.")
    except RequestRejected as refusal:
        return await _show(visit, typed, refusal)
    return visit.go(here)


async def _reveal(visit: Visit, name: str) -> ASGIResponse:
    """Show the password of a user, to a script or on the page."""
    user = (await visit.api.get(path_of(visit.path_params["id"], "users", name)))["user"]
    if "password" not in user:
        raise NotAllowed(403, "The token lacks the scope database:view_credentials.")
    if visit.wants_json:
        return visit.json({"texts": {"password": user["password"]}})
    return await _show(visit, shown=user)


async def _show(
    visit: Visit,
    typed: Typed | None = None,
    refusal: RequestRejected | None = None,
    shown: Mapping[str, str] | None = None,
) -> ASGIResponse:
    cluster = await cluster_of(visit)
    databases = await visit.api.get(path_of(cluster["id"], "dbs"), per_page=200)
    users = await visit.api.get(path_of(cluster["id"], "users"), per_page=200)
    return await show_cluster(
        visit,
        "users.html",
        refusal.status if refusal else 200,
        cluster=cluster,
        users=users["users"],
        more_users=users["meta"]["total"] - len(users["users"]),
        databases=databases["dbs"],
        more_databases=databases["meta"]["total"] - len(databases["dbs"]),
        typed=typed or Typed(),
        refusal=refusal.message if refusal else "",
        shown=shown,
    )


@page(HttpMethod.GET, USERS + "/{name:str}/delete")
async def ask_user(visit: Visit) -> ASGIResponse:
    return await _ask(visit, "user")


@page(HttpMethod.POST, USERS + "/{name:str}/delete")
async def delete_user(visit: Visit) -> ASGIResponse:
    return await _delete(visit, "user", "users")


@page(HttpMethod.GET, PATH + "/databases/{name:str}/delete")
async def ask_database(visit: Visit) -> ASGIResponse:
    return await _ask(visit, "database")


@page(HttpMethod.POST, PATH + "/databases/{name:str}/delete")
async def delete_database(visit: Visit) -> ASGIResponse:
    return await _delete(visit, "database", "dbs")


async def _ask(visit: Visit, kind: str, refusal: RequestRejected | None = None) -> ASGIResponse:
    lost = {
        "user": "The user can no longer log in. Objects that it owns pass to doadmin.",
        "database": "All data in the database is lost, and its sessions are terminated.",
    }[kind]
    return await show_cluster(
        visit,
        "delete.html",
        refusal.status if refusal else 200,
        kind=kind,
        name=visit.path_params["name"],
        lost=lost,
        back=f"{address_of(visit)}/users",
        refusal=refusal.message if refusal else "",
    )


async def _delete(visit: Visit, kind: str, noun: str) -> ASGIResponse:
    name = visit.path_params["name"]
    try:
        await visit.api.delete(path_of(visit.path_params["id"], noun, name))
    except RequestRejected as refusal:
        return await _ask(visit, kind, refusal)
    return visit.go(f"{address_of(visit)}/users", said=f"{kind.capitalize()} {name} deleted.")


ROUTES = (list_users, change, ask_user, delete_user, ask_database, delete_database)
