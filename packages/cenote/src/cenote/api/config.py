"""The configuration of a cluster: PostgreSQL, PgBouncer, and extensions of Cenote.

A change responds when the servers have applied it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPMethod
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, available_timezones

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from cenote.api import schema_fields
from cenote.api.auth import READ, UPDATE, VIEW_CREDENTIALS
from cenote.api.call import Call, PendingView
from cenote.api.operation import Body, answer, operation
from cenote.api.service import Service
from cenote.http.routing import Response
from cenote.model.records import Cluster, Value
from cenote.rules import configuration, refused_settings, unused_settings
from cenote.rules.configuration import HostCapabilities

_QUERY = "connect_query"
_UNLIMITED_MIB = 2**40  # the memory of the cluster's size is then the only limit

PATH = "/v2/databases/{database_cluster_uuid}/config"


class ChangeConfig(Body):
    """The settings to change; null restores a default."""

    config: schema_fields.Configuration


class LimitsView(msgspec.Struct, omit_defaults=True):
    """What the cluster's server takes for a setting."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None


class ConfigExtensionView(msgspec.Struct):
    """An extension of Cenote: the settings of which the cluster's server takes less than the API offers."""

    limits: dict[str, LimitsView]


class ConfigAnswer(msgspec.Struct):
    config: dict[str, Any]
    cenote: ConfigExtensionView | UnsetType = UNSET


class ConfigChanged(msgspec.Struct):
    """``cenote`` only if the change is not in force yet."""

    cenote: PendingView | UnsetType = UNSET


@operation(HTTPMethod.GET, PATH, scope=READ, answer=ConfigAnswer)
async def get_config(request: Call) -> Response:
    """Get the configuration of a cluster: the settings chosen, and the values in effect of all others."""
    cluster, status = request.cluster().value, request.service.report(request.cluster().value)
    settings = configuration.effective_settings(cluster, reported_settings(request.service, cluster))
    limits = (
        {} if status is None else msgspec.convert(status.limits, dict[str, LimitsView], from_attributes=True)
    )
    return answer(ConfigAnswer(settings, ConfigExtensionView(limits) if limits else UNSET))


@operation(HTTPMethod.PATCH, PATH, scope=UPDATE, body=ChangeConfig, answer=ConfigChanged)
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

    changed = await request.change_cluster(change)
    pending = changed.pending or _refused(request.service, changed.cluster, body.config)
    return answer(ConfigChanged(pending or UNSET))


def _refused(service: Service, cluster: Cluster, requested: Mapping[str, Any]) -> PendingView | None:
    """Return why settings of a request are not in force though the server has read its configuration."""
    status = service.report(cluster)
    chosen = replace(cluster.configuration, postgresql=_only(cluster.configuration.postgresql, requested))
    found = refused_settings.refusals(replace(cluster, configuration=chosen), status)
    found += unused_settings.in_words(cluster, unused_settings.named(requested))
    return PendingView("; ".join(found)) if found else None


def _only(chosen: Mapping[str, Value], names: Mapping[str, Any]) -> dict[str, Value]:
    return {name: value for name, value in chosen.items() if name in names}


def reported_settings(service: Service, cluster: Cluster) -> dict[str, str]:
    """Return the settings that a cluster's server last reported; empty before its first start."""
    status = service.report(cluster)
    return {} if status is None else status.settings


def host_capabilities(service: Service, cluster: Cluster) -> HostCapabilities:
    """Return the capabilities of the cluster's host; while it is offline, only the size limits memory."""
    host, status = service.store.host(service.store.shown_node(cluster).host), service.report(cluster)
    return HostCapabilities(
        memory_mib=_UNLIMITED_MIB if host is None else host.memory_mib,
        libraries=() if host is None else host.libraries.get(cluster.version, ()),
        time_zones=time_zones(),
        limits={} if status is None else status.limits,
    )


@cache
def time_zones() -> frozenset[str]:
    """Return the system's time zones, without those that only a Python package has: PostgreSQL lacks them."""
    known = available_timezones()
    return frozenset(zone for zone in known if any(Path(root, zone).is_file() for root in TZPATH))


ROUTES = (get_config, change_config)
