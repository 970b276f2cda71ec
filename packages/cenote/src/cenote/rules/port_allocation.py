"""Port allocation: a node gets a pair for its servers from the low end, one for metrics from the high end."""

from __future__ import annotations

from collections.abc import Set

from cenote.model.fleet_records import Host


def free_pair(host: Host, claimed: Set[int]) -> int | None:
    """Return the first of two consecutive free ports: PostgreSQL's, followed by PgBouncer's."""
    pairs = range(host.first_port, host.last_port, 2)
    return next((port for port in pairs if _is_free(host, claimed, port, port + 1)), None)


def free_metrics_port(host: Host, claimed: Set[int]) -> int | None:
    ports = range(host.last_port, host.first_port - 1, -1)
    return next((port for port in ports if _is_free(host, claimed, port)), None)


def _is_free(host: Host, claimed: Set[int], *ports: int) -> bool:
    return not any(port in claimed or port in host.busy_ports for port in ports)
