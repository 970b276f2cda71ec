"""Stops all servers of a data directory, for ``cenote stop`` and at the end of an ephemeral service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cenote.host import stopping
from cenote.model.paths import Layout, recovery_server
from cenote.store.process import PrivateEtcd


async def stop_servers(layout: Layout) -> None:
    """Stop every server below a data directory: poolers first, then PostgreSQL, then etcd.

    Patroni ends before its PostgreSQL, which it stops; one that is killed would leave it running.

    A server that does not end does not keep the others from being stopped; its CenoteError is raised last.
    """
    failures: list[BaseException] = []
    for programs in (
        [paths.base_backup(Path()) for cluster in layout.hosted() for paths in cluster.copied()],
        [paths.recovery(Path()) for cluster in layout.hosted() for paths in cluster.copied()],
        [recovery_server(paths.drill_data, paths.drill, Path()) for paths in layout.hosted()],
        [paths.bouncer(Path("pgbouncer")) for paths in layout.hosted()],
        [paths.failover_agent(Path()) for paths in layout.nodes()],
        [paths.server(Path()) for paths in layout.nodes()],
    ):
        ends = await asyncio.gather(*map(stopping.stop_program, programs), return_exceptions=True)
        failures += [end for end in ends if end is not None]
    await PrivateEtcd(layout.etcd).stop()
    if failures:
        raise failures[0]
