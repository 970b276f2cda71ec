"""What is left of a node that is being removed."""

from __future__ import annotations

from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.removal import Seen
from cenote.host import files, processes


def look(context: NodeContext) -> Seen:
    paths = context.cluster_paths
    has_folders = (files.needs_removal(paths.root), files.needs_removal(paths.sockets))
    has_others = any(node.name != context.paths.name for node in paths.nodes())
    return Seen(has_folders, bool(processes.below(paths.root)), has_others)
