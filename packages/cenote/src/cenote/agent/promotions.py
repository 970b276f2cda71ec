"""What a node that begins to take writes has to archive, and whether all before that is in the archive.

What came with the copy of another node's data counts as archived there, though that one may have died before
it was; so all that the node has is archived again, which does no harm.  What neither is there nor in the
archive is lost, and told as a gap.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cenote.conf import pgbackrest
from cenote.engine.plan.context import NodeContext
from cenote.host import control_file, files, safe_open
from cenote.model.topology import has_standbys
from cenote.rules import promotions, repository_listing
from cenote.rules.promotions import Promotion

FIRST_TIMELINE = "00000001"  # of a server that was never promoted
Ask = Callable[..., Awaitable[str]]  # pgBackRest, with these arguments; BackupError
_DONE, _READY = ".done", ".ready"


def notice(context: NodeContext, timeline: str) -> None:
    """Have all WAL archived that a node has, once for each timeline; OSError where that fails."""
    if not has_standbys(context.cluster) or timeline == FIRST_TIMELINE:
        return
    known, system = _known(context), control_file.system(context.paths.data)
    if not system or (known is not None and (known.system, known.timeline) == (system, timeline)):
        return
    wal = context.paths.data / "pg_wal"
    there = promotions.segments(files.names(wal))
    if not there:
        return
    since, oldest = archived_to(context), files.modified_at(wal / there[0])
    if since is None or oldest is None or since >= oldest:
        since = None  # it may be of what this node has archived
    status = wal / "archive_status"
    for name in files.names(status):
        if name.endswith(_DONE):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                safe_open.rename_new(status / name, status / f"{name.removesuffix(_DONE)}{_READY}")
    _write(context, Promotion(system=system, timeline=timeline, first=there[0], since=since))


async def lost(context: NodeContext, ask: Ask) -> Promotion | None:
    """Return the promotion before which WAL was lost that is nowhere, None if nothing was, or it is told.

    While there is no WAL in the archive at all, that is not known.  BackupError, or ValueError, where the
    repository cannot be read.
    """
    known = _known(context)
    if known is None or known.settled:
        return None
    folder = f"archive/{context.cluster.id}"

    async def listed(path: str) -> repository_listing.Listing:
        return repository_listing.parse(await ask("--output=json", "repo-ls", path))

    part = repository_listing.newest_archive(await listed(folder))
    folders = repository_listing.folders(await listed(f"{folder}/{part}")) if part else []
    if not folders:
        return None
    names: set[str] = set()
    for one in promotions.folders_before(known.first, folders):
        names |= (await listed(f"{folder}/{part}/{one}")).keys()
    if promotions.is_hole(known.first, folders, names):
        return known
    _write(context, dataclasses.replace(known, settled=True))
    return None


def note_gap(context: NodeContext, known: Promotion) -> datetime:
    """Leave a gap as the archive script does, so that it is told until a full backup covers it."""
    since = "" if known.since is None else f" {int(known.since.timestamp())}"
    gap = context.cluster_paths.backup_state / pgbackrest.GAP
    handle = safe_open.open_path(gap, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)
    try:
        if context.host.server_ids is not None:
            os.fchown(handle, *context.host.server_ids)
        os.write(handle, f"{known.first}{since}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    _write(context, dataclasses.replace(known, settled=True))
    return datetime.now(UTC)


def archived_to(context: NodeContext) -> datetime | None:
    """Return up to when all was archived, by the script; a commit is a moment older than its file."""
    reached = files.modified_at(context.cluster_paths.backup_state / pgbackrest.REACHED)
    return None if reached is None else reached - timedelta(seconds=1)


def _known(context: NodeContext) -> Promotion | None:
    return promotions.decoded(files.read(_path(context)))


def _write(context: NodeContext, promotion: Promotion) -> None:
    files.write(_path(context), promotion.encode(), 0o600, context.host.server_ids)


def _path(context: NodeContext) -> Path:
    return context.cluster_paths.backup_state / f"promotion-{context.paths.data.name}"
