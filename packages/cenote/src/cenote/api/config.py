"""The configuration of a cluster: of PostgreSQL, of its pooler, and additions of our own.

A change is answered when the servers work with it.
"""

from __future__ import annotations

from functools import cache
from http import HTTPMethod
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, available_timezones

import msgspec

from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE
from cenote.api.service import Body, Call, Service, answer, operation
from cenote.http.routing import Response
from cenote.model.records import Cluster
from cenote.rules import configuration
from cenote.rules.configuration import HostCapabilities

_MUCH = 2**40  # MiB, so that the size alone decides

PATH = "/v2/databases/{database_cluster_uuid}/config"


class ChangeConfig(Body):
    """Only the settings that shall change; null takes one back to what it is by itself."""

    config: schema_fields.Configuration


class ConfigAnswer(msgspec.Struct):
    config: dict[str, Any]


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ConfigAnswer)
async def get_config(request: Call) -> Response:
    """Get the configuration of a cluster: what was chosen, and what is in force of everything else."""
    cluster = request.cluster().value
    return answer(ConfigAnswer(configuration.effective_settings(cluster, seen(request.service, cluster))))


@operation(HTTPMethod.PATCH, PATH, scope=UPDATE, body=ChangeConfig)
async def change_config(request: Call) -> Response:
    """Change the configuration of a cluster; clients of its pools notice nothing, also when it restarts."""
    cluster = request.cluster().value
    wanted = await request.decoded(ChangeConfig)
    around = surroundings(request.service, cluster)
    in_force = configuration.effective_values(seen(request.service, cluster))
    await request.change_cluster(
        lambda current: configuration.change(current, wanted.config, in_force, around)
    )
    return Response(status_code=200)


def seen(service: Service, cluster: Cluster) -> dict[str, str]:
    """Return what the server of a cluster says that it runs on; nothing as long as it has never run."""
    status = service.store.status(cluster.id, cluster.primary.name)
    return {} if status is None else status.settings


def surroundings(service: Service, cluster: Cluster) -> HostCapabilities:
    """Return what the cluster's host offers; of one that is away only the size's memory is known."""
    host = service.store.host(cluster.primary.host)
    return HostCapabilities(
        memory_mib=_MUCH if host is None else host.memory_mib,
        libraries=() if host is None else host.libraries.get(cluster.version, ()),
        time_zones=time_zones(),
    )


@cache
def time_zones() -> frozenset[str]:
    """Return the system's time zones: PostgreSQL has none of those that only a Python package brings."""
    known = available_timezones()
    return frozenset(zone for zone in known if any(Path(root, zone).is_file() for root in TZPATH))


ROUTES = (get_config, change_config)
