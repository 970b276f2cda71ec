"""Backups of a service: what its agent needs for them, and whether the repository can be used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import pgbackrest
from cenote.errors import CenoteError
from cenote.host import files, programs, repository_disk, repository_mark
from cenote.host.backup_program import BackupProgram
from cenote.host.programs import Programs
from cenote.model.backups import Repository, RepositoryKind
from cenote.model.host_backups import HostBackups
from cenote.rules import repository_space
from cenote.security.sealing import Sealer
from cenote.server.installation import Installation

log = logging.getLogger(__name__)

ON_DISK_OF_DATA = (
    "what is lost with the disk of the data is lost with its backups, too; --backups names another place"
)
_PROBE = "cenote-check"  # a file that is put into the repository and removed
_PROBED = bytes(65_536)  # an empty one has room on a full disk


def of_host(installation: Installation, sealer: Sealer) -> HostBackups | None:
    """Return how this host keeps backups, None if it keeps none."""
    settings, found = installation.settings.backups, installation.programs
    repository = settings.repository
    if repository is None:
        files.remove(installation.layout.repository_check.parent)  # of a former start
        return None
    shares = is_on_disk_of_data(repository, installation.layout.data_dir)
    space = repository_disk.use(Path(repository.path)) if shares else None
    return HostBackups(
        repository=repository,
        days=settings.days,
        drill_days=settings.drill_days,
        program=None if found.pgbackrest is None else found.pgbackrest.path,
        newest=_newest(found),
        credentials=settings.credentials(),
        open=sealer.open,
        lack=_lack(repository, found),
        is_default=settings.is_default,
        on_disk_of_data=shares,
        least_free_mib=0 if space is None else repository_space.least_free_mib(space),
    )


def program_of(installation: Installation) -> BackupProgram | None:
    found, repository = installation.programs.pgbackrest, installation.settings.backups.repository
    if found is None or (repository is not None and _lack(repository, installation.programs)):
        return None
    return BackupProgram(found.path, installation.servers)


def is_on_disk_of_data(repository: Repository, data_dir: Path) -> bool:
    return repository.kind is RepositoryKind.FILE and repository_disk.is_that_of(
        Path(repository.path), data_dir
    )


def warning(installation: Installation) -> str:
    """Return why what is kept is no backup of this host, in words, or ""."""
    repository = installation.settings.backups.repository
    if repository is None or not is_on_disk_of_data(repository, installation.layout.data_dir):
        return ""
    return f"backups are kept in {repository.in_words}: {ON_DISK_OF_DATA}"


@dataclass(slots=True)
class RepositoryCheck:
    """Looks at the repository at the start and now and again; the service goes on, and so do attempts.

    ``is_configured``: what pgBackRest asks the repository with is as the settings have it.
    """

    installation: Installation
    known: Callable[[], str] = lambda: ""  # the mark of the repository, as this host has told it before
    problem: str = field(default="", init=False)
    identity: str = field(default="", init=False)  # "" until it is known
    is_configured: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """Run until cancelled."""
        timing = self.installation.timing
        while True:
            await self.look()
            await asyncio.sleep(timing.repository_retry if self.problem else timing.repository_interval)

    async def look(self) -> None:
        """Look once; what is wrong is logged when it is new."""
        found = await problems(self.installation)
        program = program_of(self.installation)
        if not found and program is not None:
            with contextlib.suppress(CenoteError, OSError):
                self.identity = await repository_mark.found_or_left(
                    program, self.installation.layout.repository_check, self.identity or self.known()
                )
        told, self.problem = self.problem, "; ".join(found)
        if program is not None:
            self.is_configured.set()
        if self.problem and self.problem != told:
            level = logging.WARNING if self.installation.settings.backups.is_default else logging.ERROR
            log.log(level, "backups: %s", self.problem)


async def problems(installation: Installation) -> list[str]:
    """Return what keeps this host from making backups, in words."""
    settings, found = installation.settings.backups, installation.programs
    repository, program = settings.repository, program_of(installation)
    if repository is None:
        return []
    lacking = programs.without_backups(found)
    if lacking is not None:
        return [f"{lacking.what}; fix: {lacking.command}"]
    if program is None:
        return [f"the repository {repository.in_words} cannot be used: {_lack(repository, found)}"]
    beyond = list(filter(None, [programs.limits_of_backups(found)]))
    try:
        await _use(installation, repository, program)
    except (CenoteError, OSError) as error:
        return [*beyond, f"the repository {repository.in_words} cannot be used: {error}"]
    return beyond + await asyncio.to_thread(_on_disk, repository, installation)


async def _use(installation: Installation, repository: Repository, program: BackupProgram) -> None:
    """Have pgBackRest write into the repository; CenoteError or OSError if that does not work."""
    layout, owner = installation.layout, installation.servers.owner
    settings = installation.settings.backups
    folder, credentials = layout.repository_check.parent, settings.credentials()
    files.make_directory(folder, 0o700, owner)
    key = pgbackrest.private_key(credentials)
    if key is not None:
        files.write(layout.repository_key, key, 0o600, owner, durable=False)
    text = pgbackrest.render(
        repository, credentials, state=folder, days=settings.days, key=layout.repository_key
    )
    files.write(layout.repository_check, text.encode(), 0o600, owner, durable=False)
    if repository.kind is RepositoryKind.FILE:
        await asyncio.to_thread(make, Path(repository.path), owner)
    await ask(program, layout.repository_check)


async def ask(program: BackupProgram, configuration: Path) -> None:
    """Have pgBackRest list the repository and write into it; BackupError if it cannot."""
    folder = configuration.parent
    await program.run(configuration, folder, "", "repo-ls")
    await program.run(configuration, folder, "", "repo-put", _PROBE, content=_PROBED)
    await program.run(configuration, folder, "", "repo-rm", _PROBE)


def make(path: Path, owner: tuple[int, int] | None) -> None:
    """Make the directory of a repository in one that is there, for the servers' account."""
    if not path.parent.is_dir():  # an empty one would be made where a disk is to be mounted
        raise CenoteError(f"there is no directory {path.parent}: is it mounted?")
    if not path.exists():
        files.make_directory(path, 0o750, owner)


def _on_disk(repository: Repository, installation: Installation) -> list[str]:
    if repository.kind is not RepositoryKind.FILE:
        return []
    path = Path(repository.path)
    pause = ""
    if is_on_disk_of_data(repository, installation.layout.data_dir):
        pause = repository_space.pause(repository_disk.use(path))
    return [*_unwritable(path, installation.servers.user_id), *filter(None, [pause])]


def _unwritable(path: Path, user: int) -> list[str]:
    with contextlib.suppress(OSError):
        if path.stat().st_uid != user:
            return [f"the repository {path} does not belong to the servers' account; fix: chown it"]
    return []


def _newest(found: Programs) -> int:
    return 0 if found.pgbackrest is None else programs.newest_read(found.pgbackrest)


def _lack(repository: Repository, found: Programs) -> str:
    is_server = repository.kind is RepositoryKind.SFTP
    return "" if found.pgbackrest is None or not is_server else programs.lacks_sftp(found.pgbackrest)
