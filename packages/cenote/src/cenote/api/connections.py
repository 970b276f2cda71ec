"""Connection details of clusters and pools, with connection URIs."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from cenote.api.service import Service
from cenote.model import connection_formats
from cenote.model.records import Cluster, Node
from cenote.rules import host_names, sql_changes

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")


class ConnectionView(msgspec.Struct, kw_only=True):
    """Connection details; ``uri`` has all of them in one string."""

    protocol: str
    uri: str
    database: str
    host: str
    port: int
    user: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    ssl: bool = True


class HostView(msgspec.Struct):
    """A host of a cluster, with its direct port and that of its pools."""

    host: str
    port: int
    pool_port: int


class UrisView(msgspec.Struct):
    """An extension of Cenote: connection strings with every host of a cluster, for drivers that take several.

    The driver connects to the one that takes writes.  The login is in them as far as ``connection`` has it.
    """

    hosts: list[HostView]
    libpq: str
    jdbc: str
    asyncpg: str


Login: TypeAlias = tuple[str, str | None]
"""A user and its password; None for one that SQL has set."""


def login_of(service: Service, cluster: Cluster, name: str) -> Login | None:
    found = service.by_sql(cluster)
    user = sql_changes.user(cluster, name, found)
    if user is None:
        return None
    knows = sql_changes.knows_password(user, found)
    return name, service.sealer.open(user.sealed_password).reveal() if knows else None


def connections(
    service: Service, cluster: Cluster, port: int, database: str, login: Login | None
) -> tuple[ConnectionView, ConnectionView]:
    """Return the public and the private connection; they are the same without a domain."""
    public = _connection(service.host_of(cluster), port, database, login)
    inner = service.host_of(cluster, private=True)
    return public, public if inner == public.host else _connection(inner, port, database, login)


def standby_connections(
    service: Service, cluster: Cluster, node: Node, port: int, database: str, login: Login | None
) -> tuple[ConnectionView, ConnectionView]:
    """Return the public and the private connection to a standby, by the name that follows one in a domain."""
    domain = service.domain
    if domain is None:
        public = _connection(service.address_of(node), port, database, login)
        return public, public
    names = host_names.of_standby(cluster.name, domain)
    outer, inner = (_connection(name, port, database, login) for name in names)
    return outer, inner


def uris(service: Service, cluster: Cluster, database: str, login: Login | None) -> UrisView:
    """Return connection strings with every host of a cluster, the writer's first.

    While the cluster moves, that is the writer alone: the other host's pools lead to a server that takes no
    writes, or are there for clients of the former address only.
    """
    first = service.store.shown_node(cluster)
    others = () if cluster.move is not None else cluster.nodes
    nodes = [first, *(node for node in others if node is not first and node.lost_at is None)]
    hosts = [HostView(service.address_of(node), node.port, node.pool_port) for node in nodes]
    places = tuple((host.host, host.port) for host in hosts)
    user, password = login or ("", None)
    target = connection_formats.Target(*places[0], database, user, password or "", hosts=places)
    return UrisView(
        hosts=hosts,
        libpq=connection_formats.libpq_hosts(target),
        jdbc=connection_formats.jdbc_hosts(target),
        asyncpg=connection_formats.libpq_hosts(target),
    )


def _connection(host: str, port: int, database: str, login: Login | None) -> ConnectionView:
    user, password = login or (UNSET, None)
    before = ""
    if login is not None:
        before = _quoted(login[0]) + ("" if login[1] is None else f":{_quoted(login[1])}") + "@"
    shown = f"[{host}]" if ":" in host else host
    return ConnectionView(
        protocol="postgresql",
        uri=f"postgres://{before}{shown}:{port}/{_quoted(database)}?sslmode=require",
        database=database,
        host=host,
        port=port,
        user=user,
        password=UNSET if password is None else password,
    )


def _quoted(text: str) -> str:
    """Percent-encode a part of a URI; the match is faster than ``quote``, and mostly all that is needed."""
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")
