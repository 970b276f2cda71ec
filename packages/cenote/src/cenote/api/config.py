"""The configuration of a cluster: PostgreSQL, PgBouncer, and extensions of Cenote.

A change responds when the servers have applied it.
"""

from __future__ import annotations

from functools import cache
from http import HTTPMethod
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, available_timezones

import msgspec

from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE, VIEW_CREDENTIALS
from cenote.api.service import Body, Call, Service, answer, operation
from cenote.http.routing import Response
from cenote.model.records import Cluster
from cenote.model.topology import writer_or_first
from cenote.rules import configuration
from cenote.rules.configuration import HostCapabilities

_QUERY = "connect_query"
_UNLIMITED_MIB = 2**40  # the memory of the cluster's size is then the only limit

PATH = "/v2/databases/{database_cluster_uuid}/config"


class ChangeConfig(Body):
    """The settings to change; null restores a default."""

    config: schema_fields.Configuration


class ConfigAnswer(msgspec.Struct):
    config: dict[str, Any]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ConfigAnswer)
async def get_config(request: Call) -> Response:
    """Get the configuration of a cluster: the settings chosen, and the values in effect of all others."""
    cluster = request.cluster().value
    return answer(
        ConfigAnswer(configuration.effective_settings(cluster, reported_settings(request.service, cluster)))
    )


@operation(HTTPMethod.PATCH, PATH, scope=UPDATE, body=ChangeConfig)
async def change_config(request: Call) -> Response:
    """Change the configuration of a cluster; clients of its pools stay connected, even during a restart.

    A change of `cenote.connect_query` also requires the scope `database:view_credentials`: it is SQL that
    runs as the user of each pool.
    """
    cluster = request.cluster().value
    body = await request.decoded(ChangeConfig)
    capabilities = host_capabilities(request.service, cluster)
    in_force = configuration.effective_values(cluster, reported_settings(request.service, cluster))

    def change(current: Cluster) -> Cluster:
        changed = configuration.change(current, body.config, in_force, capabilities)
        if changed.configuration.cenote.get(_QUERY) != current.configuration.cenote.get(_QUERY):
            request.caller.require(VIEW_CREDENTIALS)
        return changed

    await request.change_cluster(change)
    return Response(status_code=200)


def reported_settings(service: Service, cluster: Cluster) -> dict[str, str]:
    """Return the settings that a cluster's server last reported; empty before its first start."""
    status = service.report(cluster)
    return {} if status is None else status.settings


def host_capabilities(service: Service, cluster: Cluster) -> HostCapabilities:
    """Return the capabilities of the cluster's host; while it is offline, only the size limits memory."""
    host = service.store.host(writer_or_first(cluster).host)
    return HostCapabilities(
        memory_mib=_UNLIMITED_MIB if host is None else host.memory_mib,
        libraries=() if host is None else host.libraries.get(cluster.version, ()),
        time_zones=time_zones(),
    )


@cache
def time_zones() -> frozenset[str]:
    """Return the system's time zones, without those that only a Python package has: PostgreSQL lacks them."""
    known = available_timezones()
    return frozenset(zone for zone in known if any(Path(root, zone).is_file() for root in TZPATH))


ROUTES = (get_config, change_config)
