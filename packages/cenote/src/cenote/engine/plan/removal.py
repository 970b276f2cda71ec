"""Removal of a node whose cluster was deleted, whatever state it is in."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import EndProcesses, Plan, Remove, Stop


@dataclass(frozen=True, slots=True)
class Seen:
    has_folders: tuple[bool, bool]
    has_processes: bool


def plan(context: NodeContext, seen: Seen) -> Plan:
    paths = context.cluster_paths
    if seen.has_processes:
        yield Stop(context.bouncer)
        # Nobody needs the data any more: skip the shutdown checkpoint.
        yield Stop(replace(context.server, stop_signal=signal.SIGQUIT, kill_after=10.0))
        # Processes without a pid file are found by their working directory.
        yield EndProcesses(paths.root)
    for present, path in zip(seen.has_folders, (paths.root, paths.sockets), strict=True):
        if present:
            yield Remove(path)
