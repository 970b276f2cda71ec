"""Connection details of a cluster or a pool for each driver; the password only on request."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPMethod
from typing import Any
from urllib.parse import urlencode

from cenote.console.api_client import path_of
from cenote.console.cluster import PATH, address_of, cluster_of, render_cluster
from cenote.console.request import ConsoleRequest, page
from cenote.http.routing import Response
from cenote.model import connection_formats
from cenote.model.connection_formats import Target

HIDDEN = "••••••••••••"
_PLACEHOLDER = "CenoteHidesThePassword"  # no format escapes it
CA_FILE = "ca.crt"


@dataclass(frozen=True, slots=True)
class ConnectionText:
    """A text to copy; ``secret`` if it contains the password."""

    id: str
    label: str
    text: str
    secret: bool


@page(HTTPMethod.GET, PATH + "/connect")
async def show_connection(request: ConsoleRequest) -> Response:
    return await _show(request, request.query_params, shown=False)


@page(HTTPMethod.POST, PATH + "/connect")
async def reveal(request: ConsoleRequest) -> Response:
    """Show the password: send the texts with it to a script, else the page with it."""
    form = await request.form_fields()
    if not request.wants_json:
        return await _show(request, form, shown=True)
    cluster, _, connection = await _chosen(request, form)
    authority = CA_FILE if form.get("check") == "ca" else None
    pool = form.get("pool", "")
    made = texts(connection, authority, shown=True, hosts=_hosts(cluster, pool), direct=not pool)
    secret = [text for text in made if text.secret]
    return request.json({"texts": {text.id: text.text for text in secret}})


async def _show(request: ConsoleRequest, asked: Any, *, shown: bool) -> Response:
    cluster, pools, connection = await _chosen(request, asked)
    pool, check = asked.get("pool", ""), asked.get("check", "")

    def link(pool: str, check: str) -> str:
        query = {name: value for name, value in (("pool", pool), ("check", check)) if value}
        return f"{address_of(request)}/connect" + (f"?{urlencode(query)}" if query else "")

    fields: list[ConnectionText] = []
    snippets: list[ConnectionText] = []
    hosts = _hosts(cluster, pool)
    for text in texts(
        connection, CA_FILE if check == "ca" else None, shown=shown, hosts=hosts, direct=not pool
    ):
        (fields if text.id.startswith("field-") else snippets).append(text)
    return await render_cluster(
        request,
        "connect.html",
        cluster=cluster,
        places=[("", "Direct", link("", check))]
        + [(one["name"], one["name"], link(one["name"], check)) for one in pools],
        pool=pool,
        mode=next((one["mode"] for one in pools if one["name"] == pool), ""),
        check=check,
        checks=[("", "Encrypt only", link(pool, "")), ("ca", "Encrypt and verify", link(pool, "ca"))],
        fields=fields,
        snippets=snippets,
        shown=shown,
        can_view="password" in connection,
        set_by_sql="user" in connection and "password" not in connection,
    )


async def _chosen(request: ConsoleRequest, asked: Any) -> tuple[Any, list[Any], Any]:
    """Return the cluster, its pools, and the connection that was chosen."""
    cluster = await cluster_of(request)
    pools = (await request.api.get(path_of(cluster["id"], "pools"), per_page=200))["pools"]
    wanted = asked.get("pool", "")
    if not wanted:
        return cluster, pools, cluster["connection"]
    one = await request.api.get(path_of(cluster["id"], "pools", wanted))
    return cluster, pools, one["pool"]["connection"]


def _hosts(cluster: Any, pool: str) -> tuple[tuple[str, int], ...]:
    """Return all hosts of a cluster, with the port of its server or of its pools."""
    return tuple(
        (host["host"], host["pool_port" if pool else "port"]) for host in cluster["cenote"]["uris"]["hosts"]
    )


def texts(
    connection: Any,
    authority: str | None,
    *,
    shown: bool,
    hosts: tuple[tuple[str, int], ...] = (),
    direct: bool = True,
) -> list[ConnectionText]:
    """Return a connection in every format; with placeholders if the token cannot view credentials.

    Those that name all ``hosts`` are left out for a single one.
    """
    known = "password" in connection
    password = connection["password"] if known and shown else _PLACEHOLDER if known else "PASSWORD"
    target = Target(
        host=connection["host"],
        port=connection["port"],
        database=connection["database"],
        user=connection.get("user", "USER"),
        password=password,
        authority=authority,
        hosts=hosts,
        direct=direct,
    )
    fields = {
        "Host": target.host,
        "Port": str(target.port),
        "Database": target.database,
        "User": target.user,
        "Password": target.password,
        "TLS": "verify-full" if authority else "require",
    }
    made = [(f"field-{label.lower()}", label, text) for label, text in fields.items()]
    made.append(("text-uri", "URI", connection_formats.libpq(target)))
    made.append(("text-environment", "Environment variables", connection_formats.environment(target)))
    if len(hosts) > 1:
        made.append(("text-hosts", "All hosts (libpq, asyncpg)", connection_formats.libpq_hosts(target)))
        made.append(("text-hosts-jdbc", "All hosts (JDBC)", connection_formats.jdbc_hosts(target)))
    made += [
        (f"text-{number}", label, snippet(target))
        for number, (label, snippet) in enumerate(connection_formats.SNIPPETS.items())
    ]
    return [
        ConnectionText(id, label, text.replace(_PLACEHOLDER, HIDDEN), known and password in text)
        for id, label, text in made
    ]


ROUTES = (show_connection, reveal)
