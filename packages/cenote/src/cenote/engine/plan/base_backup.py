"""The copy of another node's data, from which a node begins to follow it.

pg_basebackup writes its manifest last, when all else is on disk.  So a copy is complete or begun anew, and it
has the name of a data directory only once it is complete, with the file that makes its server a standby.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cenote.conf import conninfo
from cenote.engine.plan import postgresql
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.folders import CLOSED
from cenote.model.changes import (
    EndProcesses,
    MakeDirectory,
    Plan,
    Program,
    Refuse,
    Remove,
    Rename,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.paths import STANDBY_SIGNAL

MANIFEST = "backup_manifest"
COPY = "cenote.copy"  # in the data of a read replica: the number of the copy that they are
_MOST_RATE = 1024  # MiB a second that pg_basebackup takes as a limit
_NO_SLOT = re.compile(r'replication slot "cenote_\w+" does not exist')


@dataclass(frozen=True, slots=True)
class Seen:
    """``is_standby``: the data directory is one's that follows.  ``has_draft``: a copy was begun.

    ``complete``: it has ended well.  ``running``: it is being made; ``progress`` says how far, in words.
    ``copied_mib``: what is there of the data.  ``cannot_follow``: the data are given up.
    ``copy`` is the number of a read replica's copy, 0 without one.  ``server_runs`` on the data that are
    there.  ``draft_version`` is the major version of the data in the draft, "" while they have none.
    """

    has_data: bool
    is_standby: bool = False
    has_draft: bool = False
    complete: bool = False
    running: bool = False
    progress: str = ""
    copied_mib: int = 0
    cannot_follow: bool = False
    copy: int = 0
    server_runs: bool = False
    draft_version: str = ""


def plan(context: NodeContext, seen: Seen) -> Plan:
    paths, program, is_managed = context.paths, program_of(context), NodeKind.MANAGED in context.kinds
    if is_managed and context.peer is None:
        return  # it takes writes itself, or no node does
    if seen.has_data and seen.cannot_follow and is_managed:
        yield from _set_aside(context)
        return
    if seen.cannot_follow:  # the data was set aside
        yield Remove(paths.cannot_follow)
    is_replica = NodeKind.REPLICA in context.kinds
    if seen.has_data and is_replica and seen.is_standby and seen.copy != context.cluster.copies:
        # WAL is lost that it had not received, or its source was upgraded: it can never catch up.
        if seen.server_runs:
            yield Stop(context.server)
        yield Remove(paths.data)
        yield Remove(context.server.stamp)
        context = replace(context, data_version="")  # the copy is made by programs of its source's version
        program = program_of(context)
    elif seen.has_data:
        if not seen.is_standby and not is_managed:
            yield Refuse(
                f"its data directory is not that of a standby: {paths.data}. If the store was recovered "
                f"from a copy older than {'its promotion' if is_replica else 'the switch of a move'}, "
                "this is the cluster's data; it is left as it is"
            )
        if seen.has_draft:
            yield Remove(paths.draft)
        return
    if is_replica and seen.draft_version not in ("", context.cluster.version):
        yield EndProcesses(paths.draft)  # its source was upgraded meanwhile
        yield Remove(paths.draft)
        seen = replace(seen, has_draft=False, running=False, complete=False)
    if seen.running:
        yield Wait(f"copying the data of {_source(context)}{seen.progress}")
    elif seen.complete:
        if is_replica:
            yield WriteFile(paths.draft / COPY, str(context.cluster.copies).encode(), durable=True)
        yield WriteFile(paths.draft / STANDBY_SIGNAL, b"", durable=True)
        yield Rename(paths.draft, paths.data)
        yield Remove(program.stamp)
        yield Remove(program.log)
    else:
        if not _knows_source(context):
            yield Wait("the address of the host to copy from is not known yet")
        if seen.has_draft:
            yield EndProcesses(paths.draft)  # the one that receives the WAL outlives the other for a moment
            yield Remove(paths.draft)
        yield MakeDirectory(paths.draft, CLOSED, context.host.server_ids)
        yield Start(program, "base backup")
        yield Wait(f"copying the data of {_source(context)}")


def _set_aside(context: NodeContext) -> Plan:
    paths = context.paths
    yield Stop(replace(context.failover_agent, stop_signal=signal.SIGKILL))
    yield EndProcesses(paths.data)
    yield Remove(paths.former_data)
    yield Rename(paths.data, paths.former_data)
    yield Remove(paths.cannot_follow)
    yield Wait(f"its data cannot follow {_source(context)} any more; they are copied anew")


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    found: dict[str, object] = {"copied_mib": seen.copied_mib}
    if NodeKind.REPLICA in context.kinds:
        found["copy"] = seen.copy
        if seen.copy != context.cluster.copies:
            found |= {"standby": None, "wal_gone": False}
    return found


def why_ended(log: str) -> str:
    """Return why a copy has ended early, by the end of its log.

    The slot that it is begun with is made by another node, and may be there a moment later.
    """
    return "its replication slot is not there yet on the node to copy from" if _NO_SLOT.search(log) else log


def program_of(context: NodeContext) -> Program:
    rate = min(context.host.copy_rate_mib, _MOST_RATE)
    source = conninfo.for_copy(postgresql.primary(context)) if _knows_source(context) else {}
    return context.paths.base_backup(
        context.server_binaries,
        *("--dbname", conninfo.render(source)),
        *("--no-password", "--progress", "--checkpoint", "fast"),
        *("--wal-method", "stream"),
        # Patroni makes the slot of a node once it runs there.
        *(() if NodeKind.MANAGED in context.kinds else ("--slot", postgresql.slot(context))),
        *(("--max-rate", f"{rate}M") if rate else ()),
    )


def _knows_source(context: NodeContext) -> bool:
    """Return whether it is known where the other node is reached."""
    if NodeKind.REPLICA in context.kinds:
        return postgresql.is_source_known(context)
    return context.peer is not None and bool(context.peer.address)


def _source(context: NodeContext) -> str:
    if context.source is not None:
        return context.source.name
    return "another node" if context.peer is None else context.peer.node.name
