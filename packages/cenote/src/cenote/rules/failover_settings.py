"""The settings of a cluster that say when a standby takes over and what it may lack: pure.

Both are for several nodes.  A cluster of one node keeps them for the nodes that it may get, and shows those
alone that were chosen for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cenote.errors import Invalid
from cenote.model import parameters, topology
from cenote.model.records import Cluster, Value

SYNCHRONOUS, LAG = "synchronous_replication", "max_failover_replication_time_lag"
QUORUM, OFF = "quorum", "off"


def waits_for_standby(cluster: Cluster) -> bool:
    """Return whether each commit is to wait until a standby has it, too."""
    return topology.has_standbys(cluster) and _value(cluster, SYNCHRONOUS) == QUORUM


def seconds(cluster: Cluster) -> int:
    """Return for how long a primary may be silent until a standby takes over."""
    lag = _value(cluster, LAG)
    assert isinstance(lag, int)
    return lag


def shown(cluster: Cluster) -> dict[str, Value]:
    """Return the settings as the API shows them."""
    return {**in_force(cluster), **cluster.configuration.failover}


def in_force(cluster: Cluster) -> Mapping[str, Value]:
    return parameters.FAILOVER_DEFAULTS if topology.has_standbys(cluster) else {}


def check(cluster: Cluster, requested: Mapping[str, Any]) -> None:
    """Raise Invalid for a change that asks a cluster without standbys to wait for one."""
    is_asked = requested.get(SYNCHRONOUS) == QUORUM != cluster.configuration.failover.get(SYNCHRONOUS)
    if is_asked and not topology.has_standbys(cluster):
        raise Invalid(
            f"{SYNCHRONOUS}: {QUORUM} needs a standby that commits can wait for, and this cluster has one "
            "node. Add nodes with a resize; it is the default then."
        )


def _value(cluster: Cluster, name: str) -> Value:
    return cluster.configuration.failover.get(name, parameters.FAILOVER_DEFAULTS[name])
