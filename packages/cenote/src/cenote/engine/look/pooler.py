"""The state of a node's PgBouncer: process, configuration, port, pause."""

from __future__ import annotations

from dataclasses import replace

from cenote.conf import conninfo
from cenote.conf.pgbouncer import ADMIN_DATABASE
from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.loaded import is_current
from cenote.engine.plan.pooler import EXECUTABLE, Seen, configuration_files, digest_of
from cenote.host import files, pauses, processes, sql, system
from cenote.host.inspector import Inspector
from cenote.host.sql import Session


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    found, port = loaded.look(context.bouncer), context.node.pool_port
    listening = found.process is not None and inspector.listens(found.process, port)
    port_not_bound = False
    if found.process is not None and not listening:
        # PgBouncer opens its unix socket last, so with that open the port is checked once more.
        is_up = system.has_listener(context.cluster_paths.sockets / f".s.PGSQL.{port}")
        listening = inspector.listens(found.process, port)
        port_not_bound = is_up and not listening
    wants_port = not listening and (found.process is None or port_not_bound)
    is_down = found.process is None
    pid_files = [context.bouncer.pid_file] if is_down else []
    contents = configuration_files(context)
    seen = Seen(
        files=loaded.look_at_files(tuple(contents)),
        certificate=files.read(context.cluster_paths.certificate),
        loaded=found,
        listening=listening,
        port_not_bound=port_not_bound,
        orphans=is_down and bool(processes.below(context.cluster_paths.pooler, EXECUTABLE)),
        stale_pid_files=processes.stale_lock_files(pid_files),
        port_taken=wants_port and system.is_port_taken(context.host.listen, port),
        paused=listening and await session.is_paused(),
        pause=pauses.read(context.cluster_paths.root),
        at=pauses.now(),
    )
    if listening and NodeKind.LEFT in context.kinds:
        # Once its clients have gone on, it does not matter whether the other node still leads.
        waits = seen.paused or seen.pause is not None
        seen = replace(seen, leads=waits and await _leads(context), clients=await _clients(session))
    if listening and not is_current(contents, seen.files, found, digest_of(contents, seen)):
        return replace(seen, users=await _users(session))
    return seen


async def _users(session: Session) -> dict[str, str]:
    rows = await session.console("SHOW DATABASES")
    return {row["name"]: row["force_user"] or "" for row in rows}


async def _clients(session: Session) -> int:
    rows = await session.console("SHOW POOLS")  # a row for each client would be thousands
    pools = [row for row in rows if row["database"] != ADMIN_DATABASE]
    return sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in pools)


async def _leads(context: NodeContext) -> bool:
    """Return whether the node that takes over takes writes; asked of it, as the store is told later."""
    peer = context.peer
    if peer is None or not peer.address:
        return False
    certificate, name = context.cluster_paths.certificate, context.paths.slot
    return await sql.leads(conninfo.render(conninfo.of_node(peer.address, peer.node.port, certificate, name)))
