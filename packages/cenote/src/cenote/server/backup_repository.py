"""Backups of a service: what its agent needs for them, and whether the repository can be reached."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from cenote.conf import pgbackrest
from cenote.errors import CenoteError
from cenote.host import files, programs
from cenote.host.backup_program import BackupProgram
from cenote.host.programs import Programs
from cenote.model.backups import RepositoryKind
from cenote.model.host_backups import HostBackups
from cenote.security.sealing import Sealer
from cenote.server.installation import Installation

log = logging.getLogger(__name__)


def of_host(installation: Installation, sealer: Sealer) -> HostBackups | None:
    """Return how this host keeps backups, None if it keeps none."""
    settings, found = installation.settings.backups, installation.programs
    repository = settings.repository
    if repository is None:
        files.remove(installation.layout.repository_check.parent)  # of a former start
        return None
    return HostBackups(
        repository=repository,
        days=settings.days,
        program=None if found.pgbackrest is None else found.pgbackrest.path,
        newest=_newest(found),
        credentials=settings.credentials(),
        open=sealer.open,
    )


def program_of(installation: Installation) -> BackupProgram | None:
    found = installation.programs.pgbackrest
    return None if found is None else BackupProgram(found.path, installation.servers)


async def check(installation: Installation) -> None:
    """Log what keeps this host from making backups; the service goes on, and so do attempts."""
    for problem in await problems(installation):
        log.error("backups: %s", problem)


async def problems(installation: Installation) -> list[str]:
    """Return what keeps this host from making backups, in words."""
    settings, found = installation.settings.backups, installation.programs
    repository, program = settings.repository, program_of(installation)
    if repository is None:
        return []
    lacking = programs.without_backups(found)
    if lacking is not None or program is None:
        return [] if lacking is None else [f"{lacking.what}; fix: {lacking.command}"]
    beyond = list(filter(None, [programs.limits_of_backups(found)]))
    configuration = installation.layout.repository_check
    owner = installation.servers.owner
    try:
        if repository.kind is RepositoryKind.FILE:
            make(Path(repository.path), owner)
        files.make_directory(configuration.parent, 0o700, owner)
        text = pgbackrest.render(
            repository, settings.credentials(), state=configuration.parent, days=settings.days
        )
        files.write(configuration, text.encode(), 0o600, owner, durable=False)
        await ask(program, configuration)
        if repository.kind is RepositoryKind.FILE:
            beyond += _unwritable(Path(repository.path), installation.servers.user_id)
    except (CenoteError, OSError) as error:
        return [*beyond, f"the repository {repository.in_words} cannot be used: {error}"]
    return beyond


async def ask(program: BackupProgram, configuration: Path) -> None:
    """Have pgBackRest list the repository; BackupError if it cannot."""
    await program.run(configuration, configuration.parent, "", "repo-ls")


def make(path: Path, owner: tuple[int, int] | None) -> None:
    """Make the directory of a repository in one that is there, for the servers' account."""
    if not path.parent.is_dir():  # an empty one would be made where a disk is to be mounted
        raise CenoteError(f"there is no directory {path.parent}: is it mounted?")
    if not path.exists():
        files.make_directory(path, 0o750, owner)


def _unwritable(path: Path, user: int) -> list[str]:
    with contextlib.suppress(OSError):
        if path.stat().st_uid != user:
            return [f"the repository {path} does not belong to the servers' account; fix: chown it"]
    return []


def _newest(found: Programs) -> int:
    return 0 if found.pgbackrest is None else programs.newest_read(found.pgbackrest)
