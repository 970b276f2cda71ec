"""Connections that never log in: both servers of a cluster end them, and let others in meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

from msgspec.structs import replace

from cenote.model.records import Pool
from cenote.model.topology import writer_or_first
from tests.support.agent import ask
from tests.support.lab import Lab, Share

POOL = Pool(name="backend-pool", database="defaultdb", size=2, user="doadmin")
END_SECONDS = 45  # the limit is 10 seconds; without it, PostgreSQL and PgBouncer wait for 60
SILENT = 20


def test_silent_connections_are_ended_by_server_and_pooler(labs: Share) -> None:
    async def scenario(lab: Lab) -> None:
        cluster = replace(lab.new_cluster(), pools=(POOL,))
        await lab.converge(cluster)
        node = writer_or_first(cluster)
        silent = [
            await asyncio.open_connection("127.0.0.1", port)
            for port in (node.port, node.pool_port)
            for _ in range(SILENT)
        ]
        assert await ask(cluster, pool=None) == await ask(cluster) == 42
        async with asyncio.timeout(END_SECONDS):
            for reader, writer in silent:
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()

    labs(scenario)
