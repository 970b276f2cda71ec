"""The ports on which the hosts of a fleet reach one another: four in a row, from ``--fleet-port``."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_FLEET_PORT = 8444
COUNT = 4


class FleetPorts(NamedTuple):
    """Where new hosts ask to be admitted, where the agent answers other hosts, and those of etcd.

    ``store`` is for clients of etcd, ``peers`` for its other members.
    """

    join: int
    agent: int
    store: int
    peers: int

    @classmethod
    def of(cls, first: int) -> FleetPorts:
        return cls(*range(first, first + COUNT))
