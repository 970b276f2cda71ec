"""The files of pgBackRest on a host, and the passphrase of a cluster's backups."""

from __future__ import annotations

import logging

from cenote.engine.plan.backups import Seen
from cenote.engine.plan.context import NodeContext
from cenote.errors import Misconfigured
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model.record import Secret

log = logging.getLogger(__name__)


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    paths = context.cluster_paths
    files_of_ours = (paths.backup_configuration, paths.backup_key, paths.archive_script)
    known = () if context.backups is None else files_of_ours
    return Seen(
        files={path: files.read(path) for path in known},
        modes={path: files.mode_of_file(path) for path in known},
        is_there=files.mode_of(paths.backups) is not None,
        passphrase=passphrase(context),
    )


def passphrase(context: NodeContext) -> Secret | None:
    """Return the passphrase of the cluster's backups; None without any, or without the key to open it."""
    kept, plan = context.backups, context.cluster.backups
    if kept is None or plan is None:
        return None
    try:
        return kept.open(plan.sealed_passphrase)
    except Misconfigured as error:
        log.error("cluster %s: no backups: %s", context.in_words, error)
        return None


def passphrase_problem(context: NodeContext) -> str:
    """Return why the passphrase of the cluster's backups cannot be had, "" if it can or if there is none."""
    kept, plan = context.backups, context.cluster.backups
    if kept is None or plan is None:
        return ""
    try:
        kept.open(plan.sealed_passphrase)
    except Misconfigured as error:
        return f"the passphrase of its backups cannot be opened: {error}"
    return ""
