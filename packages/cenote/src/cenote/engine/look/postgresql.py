"""The state of a node's PostgreSQL: data directory, configuration, process, disk use."""

from __future__ import annotations

from pathlib import Path

from cenote.engine.look import loaded
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.loaded import Loaded
from cenote.engine.plan.postgresql import EXECUTABLE, READY, Seen, configuration_files
from cenote.host import control_file, files, processes, system
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.changes import Program
from cenote.model.status_records import DiskUse
from cenote.rules import storage

_FOLLOWING = {NodeKind.FOLLOWING, NodeKind.REPLICA}


async def look(inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    paths, server = context.paths, context.server
    found = loaded.look(server)
    is_down, has_data = found.process is None, files.mode_of(paths.data) is not None
    return Seen(
        has_data=has_data,
        files=loaded.look_at_files(tuple(configuration_files(context))),
        certificate=files.read(context.cluster_paths.certificate),
        loaded=found,
        state=state_of(server.pid_file, found),
        orphans=is_down and has_data and bool(processes.below(paths.data, EXECUTABLE)),
        stale_pid_files=processes.stale_lock_files(_locks(context)) if is_down else (),
        port_taken=is_down and system.is_port_taken(context.host.listen, context.node.port),
        use=await disk_use(inspector, context),
        least=control_file.least_settings(paths.data) if context.kinds & _FOLLOWING else {},
    )


async def disk_use(inspector: Inspector, context: NodeContext) -> DiskUse | None:
    """Return the use of the storage, None before there is any data; measured more often when nearly full."""
    if files.mode_of(context.paths.data) is None:
        return None
    timing = context.host.timing
    use = await inspector.disk_use(context.paths.data, timing.disk_use_max_age)
    if storage.is_nearly_full(use, context.cluster.storage_mib):
        use = await inspector.disk_use(context.paths.data, timing.disk_use_max_age_nearly_full)
    return use


def is_ready(server: Program, found: Loaded) -> bool:
    """Return whether a server takes connections; a standby does, too."""
    return state_of(server.pid_file, found) == READY


def _locks(context: NodeContext) -> list[Path]:
    """Return the files by which a server keeps others from its data and its sockets."""
    sockets = context.cluster_paths.sockets
    names = [name for name in files.names(sockets) if name.startswith(".s.PGSQL.") and name.endswith(".lock")]
    return [context.server.pid_file, *(sockets / name for name in names)]


def state_of(pid_file: Path, found: Loaded) -> bytes:
    """Return the last line of the pid file, unless a killed server has left it behind."""
    lines = (files.read(pid_file) or b"").splitlines()
    ours = found.process is not None and lines[:1] == [str(found.process.pid).encode()]
    return lines[7].strip() if ours and len(lines) > 7 else b""
