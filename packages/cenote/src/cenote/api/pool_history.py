"""The history of a cluster's pools, an extension of Cenote."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPMethod

import msgspec
from msgspec import UNSET, UnsetType

from cenote import rules
from cenote.api.auth import READ
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.poolers import ask
from cenote.api.service import Service
from cenote.errors import Invalid, Unavailable
from cenote.http.routing import Response
from cenote.model.records import Cluster
from cenote.rules import configuration
from cenote.stats import history_sums
from cenote.stats.history import (
    DAY_MINUTES,
    SAMPLED_MINUTES,
    ClusterHistory,
    MachineHistory,
    PoolHistory,
    Table,
)
from cenote.stats.observer import HistoryTables

log = logging.getLogger(__name__)


class PoolHistoryView(msgspec.Struct, kw_only=True):
    """The history of a pool: each list has one value per time in ``at``, in seconds of the Unix epoch.

    ``clients_waiting`` and ``longest_wait_seconds`` are maxima of the interval, all others are averages.
    ``waiting`` is the average number of waiting clients; ``in_transaction`` and ``in_query`` are the average
    numbers of server connections in a transaction and executing a query.  All are sums over the poolers on
    all hosts of the cluster, but ``longest_wait_seconds``, the longest of all; so ``size`` is that of each
    pooler times their number.
    """

    name: str
    at: list[float]
    size: list[float]
    clients_active: list[float]
    clients_waiting: list[float]
    servers_active: list[float]
    longest_wait_seconds: list[float]
    transactions_per_second: list[float]
    queries_per_second: list[float]
    waiting: list[float]
    in_transaction: list[float]
    in_query: list[float]


class HostHistoryView(msgspec.Struct):
    """The history of the host: ``busy`` is the share of all its CPUs in use, ``server`` the number of CPUs
    that the cluster's PostgreSQL used, ``sessions`` the number of its sessions."""

    at: list[float]
    busy: list[float]
    server: list[float]
    sessions: list[float]


class ConnectionsView(msgspec.Struct):
    """The connections of the server: reserved for maintenance, allocated to pools, left to allocate."""

    all: int
    reserved: int
    allocated: int
    left: int
    sessions: int | None


class HistoryView(msgspec.Struct):
    """``connections`` has the current values.

    ``machine`` is the host of the node that takes writes, with no values if that does not answer.
    ``not_counted`` names the hosts that did not answer, and why; it is left out without any.
    """

    pools: list[PoolHistoryView]
    machine: HostHistoryView
    connections: ConnectionsView
    not_counted: list[str] | UnsetType = UNSET


class PoolHistoryAnswer(msgspec.Struct):
    history: HistoryView


@operation(
    HTTPMethod.GET,
    "/v2/databases/{database_cluster_uuid}/pool_history",
    scope=READ,
    answer=PoolHistoryAnswer,
    query=("minutes", "points"),
    also=(422, 503),
)
async def get_pool_history(request: Call) -> Response:
    """Get the history of a cluster's pools over the last ``minutes`` (default 15, at most 1440).

    Up to 15 minutes have all samples, more have one value per minute; ``points`` limits the number of values.
    The history is kept in memory and begins when the service starts, on each host for itself.
    """
    cluster = request.cluster().value
    minutes = _number(request, "minutes", DAY_MINUTES) or SAMPLED_MINUTES
    points = _number(request, "points", DAY_MINUTES)
    found = await histories_of(request.service, cluster, minutes)
    past, begin = history_sums.summed(found.histories), found.now - 60 * minutes
    views = [
        _pool_view(pool.name, past.pools.get(pool.name) or PoolHistory(), begin, minutes, points)
        for pool in cluster.pools
    ]
    machine = _machine_view(past.machine.samples, begin)
    sessions = int(machine.sessions[-1]) if machine.sessions else None
    connections = connections_view(cluster, sessions)
    return answer(PoolHistoryAnswer(HistoryView(views, machine, connections, found.not_counted or UNSET)))


@dataclass(frozen=True, slots=True)
class Histories:
    """The histories of a cluster's poolers until ``now``, in the time of the first one's host.

    That is the writer's, or else it has no ``machine``.  ``not_counted`` are the hosts that did not answer.
    """

    now: float
    histories: list[ClusterHistory]
    not_counted: list[str]


async def histories_of(service: Service, cluster: Cluster, minutes: int) -> Histories:
    """Return the history of each pooler of a cluster; Unavailable if no host answers."""
    writer = service.store.shown_node(cluster).name
    found = await ask(service, cluster, lambda name: service.observer.history(cluster.id, name, minutes))
    now = next(iter(found.by_node.values())).now
    histories = []
    for name, tables in found.by_node.items():
        history = _decoded(cluster, tables)
        history.shift(now - tables.now)  # the clocks of hosts differ
        if name != writer:
            history.machine = MachineHistory()
        histories.append(history)
    return Histories(now, histories, found.not_counted)


def _decoded(cluster: Cluster, tables: HistoryTables) -> ClusterHistory:
    try:
        return ClusterHistory.of(tables)
    except ValueError as error:
        log.error("cluster %s: %s", cluster.name, error)
        raise Unavailable("The history of this cluster's host cannot be read.") from None


def connections_view(cluster: Cluster, sessions: int | None) -> ConnectionsView:
    left, capacity = rules.unallocated_connections(cluster)
    every = configuration.max_connections(cluster)
    allocated = sum(pool.size for pool in cluster.pools)
    return ConnectionsView(every, every - capacity, allocated, left, sessions)


def _pool_view(
    name: str, past: PoolHistory, begin: float, minutes: int, points: int | None
) -> PoolHistoryView:
    rows_since = past.samples_since if minutes <= SAMPLED_MINUTES else past.minutes_since
    at, columns = rows_since(begin, points)
    rounded = {name: _rounded(column) for name, column in columns.items()}
    return PoolHistoryView(
        name=name,
        at=_rounded(at),
        size=rounded["size"],
        clients_active=rounded["clients_active"],
        clients_waiting=rounded["clients_waiting"],
        servers_active=rounded["servers_active"],
        longest_wait_seconds=rounded["longest_wait"],
        transactions_per_second=rounded["transactions"],
        queries_per_second=rounded["queries"],
        waiting=rounded["waiting"],
        in_transaction=rounded["in_transaction"],
        in_query=rounded["in_query"],
    )


def _machine_view(samples: Table, begin: float) -> HostHistoryView:
    start = samples.since(begin)
    return HostHistoryView(
        at=_rounded(samples.at[start:]),
        busy=_rounded(samples["busy"][start:]),
        server=_rounded(samples["server"][start:]),
        sessions=_rounded(samples["sessions"][start:]),
    )


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, 3) for number in numbers]


def _number(request: Call, name: str, most: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise Invalid(f"{name}: {text[:40]!a} is not a whole number from 1 to {most}.")
    return int(text)


ROUTES = (get_pool_history,)
