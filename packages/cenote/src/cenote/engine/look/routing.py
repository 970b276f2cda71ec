"""Where a running PgBouncer leads its clients, and whether the node that is to take writes does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import replace

from cenote.conf import conninfo
from cenote.conf.hba import SUPERUSER
from cenote.conf.pgbouncer import ADMIN_DATABASE
from cenote.engine.look import loaded
from cenote.engine.plan import loaded as judged
from cenote.engine.plan import pooler, routing
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.routing import Seen
from cenote.errors import CenoteError
from cenote.host import files, pauses, processes, sql
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model import topology
from cenote.model.records import Node, PoolMode, SwitchStage
from cenote.model.standby_pools import standby_pools

LEADS_SECONDS = 1.0  # in which a node says whether it takes writes; clients wait, and it is asked again

_OLDEST = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
FROM pg_stat_activity WHERE pid IN ({pids})
"""


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found = loaded.look(context.bouncer) if routing.is_needed(context) else None
    if found is None or found.process is None:
        return Seen()
    if not inspector.listens(found.process, context.node.pool_port):
        return Seen()
    paths = tuple(pooler.configuration_files(context))
    contents = {path: content for path, content in loaded.look_at_files(paths).items() if content is not None}
    certificate = files.read(context.cluster_paths.certificate)
    if found.digest != judged.digest(*contents.values(), certificate or b""):
        return Seen(unknown=True)  # its own part writes them anew
    seen = Seen(
        files=contents,
        certificate=certificate,
        loaded=found,
        at=pauses.now(),
        is_up=_is_up(context),
        pause=pauses.read(context.cluster_paths.root),
    )
    is_switching = context.cluster.switchover is not None
    is_calm = context.leader is not None and seen.is_up and not is_switching and seen.pause is None
    is_calm = is_calm and not topology.holds_for_upgrade(context.cluster)
    if is_calm and not routing.needs_writer(context, seen):
        return seen
    seen = await _with_pools(context, seen, session)
    if routing.needs_writer(context, seen):
        seen = replace(seen, leads=await _leads(context))
    return seen


def _is_up(context: NodeContext) -> bool:
    """Return whether the node that takes writes has a server; of another host that is not known."""
    writer = topology.writer(context.cluster, context.leader)
    if writer is None or writer.host != context.node.host:
        return True
    paths = context.host.layout.node(context.cluster.id, writer.name)
    return processes.find(paths.server(context.server_binaries)) is not None


async def _with_pools(context: NodeContext, seen: Seen, session: Session) -> Seen:
    try:
        rows = [row for row in await session.console("SHOW DATABASES") if row["name"] != ADMIN_DATABASE]
    except CenoteError:
        return replace(seen, unknown=True)
    others = set(standby_pools(pool.name for pool in context.cluster.pools).values())
    # A pool of sessions waits for each of them to end.
    held = {
        row["name"]: bool(row["paused"])
        for row in rows
        if row["pool_mode"] != PoolMode.SESSION and row["name"] not in others
    }
    switch = context.cluster.switchover
    is_asked = switch is not None and switch.source == context.leader and seen.is_up
    busy = await _busy(session) if held and all(held.values()) else set()
    return replace(
        seen,
        pools=tuple(held),
        paused=any(row["paused"] for row in rows),
        held=all(held.values()) and not (is_asked and busy & held.keys()),
        hangs=bool(busy & held.keys()),
        oldest=await _oldest(context, held.keys(), session) if is_asked else 0.0,
    )


async def _busy(session: Session) -> set[str]:
    """Return the pools with transactions: a pause waits for them, also if whoever has begun it is gone."""
    return {row["database"] for row in await session.console("SHOW POOLS") if int(row["sv_active"])}


async def _oldest(context: NodeContext, pools: Collection[str], session: Session) -> float:
    """Return the age of the oldest transaction in pools, which only the server that they lead to knows.

    That of another host is asked before pools are held, and not while clients wait: then they are held only
    if they get free in time.
    """
    writer, switch = topology.writer(context.cluster, context.leader), context.cluster.switchover
    if writer is None or switch is None:
        return 0.0
    is_here = writer.host == context.node.host
    if not is_here and switch.stage is not SwitchStage.PREPARING:
        return 0.0
    servers = await session.console("SHOW SERVERS")
    pids = [int(row["remote_pid"]) for row in servers if row["database"] in pools and row["remote_pid"]]
    if not pids:
        return 0.0
    query = _OLDEST.format(pids=", ".join(map(str, pids)))
    if not is_here:
        return await _oldest_of_node(_place_of(context, writer), query)
    async with contextlib.aclosing(_session_of(context, writer)) as direct:
        [(age,)] = await direct.rows(SUPERUSER, query)
    return float(age)


async def _oldest_of_node(place: str | None, query: str) -> float:
    """Return what another host's server answers; 0 if it does not, and then it is seen by holding."""
    try:
        [(age,)] = [(0.0,)] if place is None else await sql.rows_of_node(place, query, LEADS_SECONDS)
    except CenoteError:
        return 0.0
    return float(age)


async def _leads(context: NodeContext) -> bool:
    """Return whether the node that the failover agent names takes writes; asked of its server by SQL.

    One that still recovers is about to, and clients wait: it is asked again for a moment.
    """
    writer = topology.writer(context.cluster, context.leader)
    if writer is None:
        return False
    if writer.host == context.node.host:
        async with contextlib.aclosing(_session_of(context, writer)) as direct:
            return await sql.ends_recovery(lambda: _recovers(direct), LEADS_SECONDS)
    place = _place_of(context, writer)
    if place is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEADS_SECONDS):
                return await sql.leads(place, LEADS_SECONDS)
    return False


def _place_of(context: NodeContext, node: Node) -> str | None:
    """Return how a node on another host is reached, None if that host's address is not known."""
    address = context.addresses.get(node.host, "")
    certificate, name = context.cluster_paths.certificate, context.paths.slot
    return conninfo.render(conninfo.of_node(address, node.port, certificate, name)) if address else None


async def _recovers(direct: Session) -> bool | None:
    try:
        [(follows,)] = await direct.rows(SUPERUSER, "SELECT pg_is_in_recovery()")
    except CenoteError:
        return None
    return bool(follows)


def _session_of(context: NodeContext, node: Node) -> _Closing:
    """Return a session for a node of this host, which need not be the one that is looked at."""
    return _Closing(context.cluster_paths.sockets, node.port, node.pool_port, statement_seconds=2)


class _Closing(Session):
    async def aclose(self) -> None:
        await self.close()
