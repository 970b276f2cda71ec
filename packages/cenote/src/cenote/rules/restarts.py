"""When PostgreSQL is restarted for settings that a reload cannot change.

A customer who changes the configuration or the size gets the restart at once.  Settings that only this
service changes, as from one version of it to the next, wait for the next restart, whatever that is for: an
upgrade disconnects no client.  Until then also the file of such a server keeps the former values.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from cenote.model import parameters
from cenote.model.records import Cluster
from cenote.rules import configuration, maintenance, sizing


class Urgency(StrEnum):
    """When a setting that waits for a restart gets one."""

    NOW = "now"
    WINDOW = "window"  # in the maintenance window, or when the cluster's owner asks for updates
    NEXT = "next"  # with the next restart


# What the operator has changed: the addresses of the service, the packages of the host.
_OF_THE_OPERATOR = frozenset({"listen_addresses", "shared_preload_libraries"})
_OF_THE_CUSTOMER = frozenset(
    parameter.server_name for parameter in parameters.POSTGRESQL.values()
) | frozenset(sizing.settings(memory_mib=1024, vcpus=1, connections=25))


def urgencies(cluster: Cluster, pending: Mapping[str, str]) -> dict[str, Urgency]:
    """Return the urgency of each setting that waits for a restart; ``pending`` has the values in force."""
    return {name: _urgency(cluster, name, in_force) for name, in_force in pending.items()}


def former_settings(cluster: Cluster) -> dict[str, str]:
    """Return the settings that need a restart as version 0.1 set them for the same record."""
    # Without it there are no backups, so it is the one setting that does not wait for any restart.
    archiving = {} if cluster.backups is not None else {"archive_mode": "off"}
    return archiving | {"cluster_name": cluster.name} | _formerly(cluster)


def is_due(cluster: Cluster, running_since: datetime, now: datetime) -> bool:
    """Return whether a restart that waits for the maintenance window may begin."""
    asked_at = cluster.update_asked_at
    was_asked = asked_at is not None and running_since < asked_at
    return was_asked or maintenance.is_open(cluster.maintenance_window, now)


def _urgency(cluster: Cluster, name: str, in_force: str) -> Urgency:
    if name in _OF_THE_OPERATOR or (name == "archive_mode" and cluster.backups is not None):
        return Urgency.WINDOW
    if name not in _OF_THE_CUSTOMER or in_force == _formerly(cluster).get(name):
        return Urgency.NEXT
    return Urgency.NOW


def _formerly(cluster: Cluster) -> dict[str, str]:
    """Return what earlier versions set for the same record, where this one sets something else.

    A server that runs with such a value has what its owner asked for.
    """
    chosen = cluster.configuration.postgresql
    return {
        "max_connections": str(configuration.max_connections(cluster)),
        "max_replication_slots": str(chosen.get("max_replication_slots", 8)),
        "max_wal_senders": str(chosen.get("max_wal_senders", 20)),
    }
