"""Removal of a node whose cluster was deleted or that has left its host, whatever state it is in.

What an operator may miss goes to the trash: its server is shut down in order, so that the data is whole.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Discard, EndProcesses, Plan, Remove, Stop
from cenote.model.paths import ClusterPaths, NodePaths
from cenote.model.trash import TrashNote


@dataclass(frozen=True, slots=True)
class Seen:
    """``has_others``: the host has data of other nodes of the cluster, which may be in no record."""

    has_folders: tuple[bool, bool]
    has_processes: bool
    has_others: bool = False


def plan(context: NodeContext, seen: Seen, note: TrashNote | None = None) -> Plan:
    """With a note, the data goes to the trash."""
    paths = context.cluster_paths
    if seen.has_others and context.cluster.deleted_at is None:
        yield from plan_discard_node(context.paths, context.paths.files(), note)
        return
    if note is not None and any(seen.has_folders):
        yield from plan_discard(paths, _nodes_here(context), note)
        return
    if seen.has_processes:
        yield Stop(context.bouncer)
        for node in _nodes_here(context):  # or it starts the server again
            yield Stop(replace(node.failover_agent(Path()), stop_signal=signal.SIGKILL))
        # Nobody needs the data any more: skip the shutdown checkpoint.
        yield Stop(replace(context.server, stop_signal=signal.SIGQUIT, kill_after=10.0))
        # Processes without a pid file are found by their working directory.
        yield EndProcesses(paths.root)
    for present, path in zip(seen.has_folders, (paths.root, paths.sockets), strict=True):
        if present:
            yield Remove(path)


def _nodes_here(context: NodeContext) -> list[NodePaths]:
    """Return the nodes of the cluster on this host; the first one that is removed takes all along."""
    names = {node.name for node in context.cluster.nodes if node.host == context.node.host}
    layout = context.host.layout
    return [layout.node(context.cluster.id, name) for name in sorted(names | {context.node.name})]


def plan_discard(paths: ClusterPaths, nodes: Sequence[NodePaths], note: TrashNote | None) -> Plan:
    """Stop all that a host has of a cluster and move it to the trash; without a note, remove it."""
    yield Stop(paths.bouncer(Path("pgbouncer")))
    for node in nodes:
        yield Stop(node.failover_agent(Path()))  # which stops its server, too
        yield Stop(node.server(Path()))
    yield EndProcesses(paths.root)
    if note is not None:
        keys = paths.certificate.parent, paths.backups, paths.drill, *(node.restore_work for node in nodes)
        for folder in keys:
            yield Remove(folder)  # the trash keeps data, once, and no key of the cluster's
        yield Discard((paths.root,), note)
    yield Remove(paths.root)  # or what an earlier removal has left
    yield Remove(paths.sockets)


def plan_discard_node(node: NodePaths, files: Sequence[Path], note: TrashNote | None) -> Plan:
    """The same for one node of a cluster that has another one on the host, which goes on.

    What it had begun to copy is worth nothing.
    """
    backup = node.base_backup(Path())
    yield Stop(node.failover_agent(Path()))  # which stops its server, too, and has another node take over
    yield Stop(node.server(Path()))
    for folder in (node.data, node.draft, node.patroni):
        yield EndProcesses(folder)
    for path in (node.draft, node.former_data, node.restore_work, node.patroni, backup.log, backup.stamp):
        yield Remove(path)
    if note is not None:
        # The data last: while it is there, the node is found again.
        yield Discard((*files, node.data), note)
    for path in (*files, node.data):
        yield Remove(path)
