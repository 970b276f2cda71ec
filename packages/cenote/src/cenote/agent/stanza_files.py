"""What is in the repository of a cluster beside its complete backups: its WAL, and what was not finished."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from cenote.host.backup_program import BackupError
from cenote.rules import backup_info

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[str]]  # pgBackRest, with these arguments; BackupError


async def archive_bytes(ask: Ask, id: UUID) -> int | None:
    """Return what the WAL of a cluster takes in the repository; None if that cannot be had."""
    try:
        text = await ask("--recurse", "--output=json", "repo-ls", f"archive/{id}")
        return backup_info.bytes_of(text)
    except (BackupError, ValueError) as error:
        log.info("cluster %s: the size of its archive is not known: %s", id, error)
        return None


async def remove_unfinished(ask: Ask, id: UUID, complete: Collection[str]) -> None:
    """Remove what a backup that was ended has left, which the next one would only take up again.

    ``complete`` are the labels of all backups that are.
    """
    names = (await ask("repo-ls", f"backup/{id}", f"--filter={backup_info.LABEL}")).split()
    for name in names:
        if backup_info.is_label(name) and name not in complete:
            log.info("cluster %s: what there is of the backup %s is removed", id, name)
            await ask("--recurse", "repo-rm", f"backup/{id}/{name}")
