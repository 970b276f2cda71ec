"""Asks the servers of this host for their numbers, for the API and for scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cenote.domain import Cluster
from cenote.errors import CenoteError, Unavailable
from cenote.host import logs, sql
from cenote.host.statistics import Statistics
from cenote.layout import Layout
from cenote.logs.messages import Message, Source
from cenote.observing import PoolNumbers, ServerNumbers, pool_numbers


class HostObserver:
    """The ``Observer`` of a service whose nodes all run on this host."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._statistics = Statistics(layout)

    async def pools(self, cluster: Cluster) -> Mapping[str, PoolNumbers]:
        sockets, port = self._layout.node(cluster.id).sockets, cluster.primary.pool_port
        try:
            return pool_numbers(
                await sql.console(sockets, port, "SHOW POOLS"), await sql.console(sockets, port, "SHOW STATS")
            )
        except CenoteError as error:
            raise Unavailable(f"The pooler of this cluster does not answer: {error.message}") from None

    async def server(self, cluster: Cluster) -> ServerNumbers:
        try:
            return await self._statistics.of(cluster)
        except CenoteError as error:
            raise Unavailable(f"The server of this cluster does not answer: {error.message}") from None

    async def logs(
        self, cluster: Cluster, source: Source, count: int, cursor: str
    ) -> tuple[list[Message], str]:
        path = self._layout.node(cluster.id).log(source)
        return await asyncio.to_thread(logs.tail, path, source, count, cursor)
