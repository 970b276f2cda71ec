"""The options for backups: ``--backups`` and what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cenote.errors import Misconfigured
from cenote.model.backups import Repository, RepositoryKind
from cenote.model.record import Secret
from cenote.rules import repositories
from cenote.server import secret_file

_NO_CREDENTIALS: Mapping[str, Secret] = {}


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """``days`` is how far back a moment can be restored.

    ``own`` is the directory for which nobody has asked, below the data directory; it stands for a URL.  Every
    ``drill_days`` a backup of each cluster is restored aside and checked; 0: only when asked for.
    """

    url: str = repositories.NONE
    credentials_file: Path | None = None
    days: int = 7
    drill_days: int = 7
    own: Path | None = None

    @property
    def is_default(self) -> bool:
        """Whether nobody has said where backups are to be kept."""
        return self.own is not None

    @property
    def repository(self) -> Repository | None:
        """The repository, None without backups; Misconfigured for a URL that is none of one."""
        if self.own is not None:
            return Repository(RepositoryKind.FILE, PurePosixPath(self.own))
        try:
            return repositories.parse(self.url)
        except ValueError as error:
            raise Misconfigured(f"--backups: {error}") from None

    def check(self, data_dir: Path, *, ephemeral: bool) -> None:
        """Raise Misconfigured for what cannot work, also for the file of the credentials."""
        repository = self.repository
        if repository is None:
            if self.credentials_file is not None:
                raise Misconfigured("--backups-credentials needs --backups")
            return
        if ephemeral:
            raise Misconfigured("--backups needs data that stays: leave --ephemeral out")
        if (
            self.own is None
            and repository.kind is RepositoryKind.FILE
            and _is_around(Path(repository.path), data_dir)
        ):
            raise Misconfigured(
                f"--backups must not be the data directory {data_dir}, nor around it or among its own folders"
            )
        for file in filter(None, (repository.authority, repository.known_hosts)):
            if not Path(file).is_file():
                raise Misconfigured(f"--backups: there is no file {file}")
        self.credentials()

    def credentials(self) -> Mapping[str, Secret]:
        """Read the credentials; Misconfigured when others may read them, too."""
        repository, path = self.repository, self.credentials_file
        if repository is None or repository.kind is RepositoryKind.FILE:
            if path is not None:
                raise Misconfigured(
                    "--backups-credentials is for a bucket or an SFTP server; a directory needs none"
                )
            return _NO_CREDENTIALS
        is_server = repository.kind is RepositoryKind.SFTP
        if path is None:
            what = "an SFTP server needs --backups-credentials, the file of a private key"
            raise Misconfigured(
                f"--backups with {what if is_server else 'a bucket needs --backups-credentials'}"
            )
        parse = repositories.parse_private_key if is_server else repositories.parse_credentials
        return secret_file.parsed("--backups-credentials", path, parse)


def _is_around(path: Path, data_dir: Path) -> bool:
    """Return whether a directory is the data directory, holds it, or is one that the service has below it."""
    path, data_dir = Path(os.path.realpath(path)), Path(os.path.realpath(data_dir))
    return data_dir.is_relative_to(path) or (
        path.is_relative_to(data_dir) and path.relative_to(data_dir).parts[0] != "backups"
    )
