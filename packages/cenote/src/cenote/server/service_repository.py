"""The folder beside the stanzas of a repository in which backups of the service are kept.

pgBackRest writes and reads them, as the account of the servers, to which the repository belongs; so it works
for every kind of repository.  They are encrypted already (``security/backup_file.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from cenote.conf import pgbackrest
from cenote.errors import CenoteError
from cenote.host import files
from cenote.host.backup_program import BackupProgram
from cenote.host.processes import Account
from cenote.host.programs import Programs
from cenote.server.backup_settings import BackupSettings

FOLDER = "cenote/service"
_SECONDS = 300.0  # for the whole of a backup


class ServiceRepository:
    """The backups of services in the repository that settings name; ``work`` is a folder for its use."""

    def __init__(self, settings: BackupSettings, found: Programs, account: Account, work: Path) -> None:
        self._settings, self._account, self._work = settings, account, work
        self._program = None if found.pgbackrest is None else BackupProgram(found.pgbackrest.path, account)

    @property
    def in_words(self) -> str:
        repository = self._settings.repository
        assert repository is not None
        return f"{repository.in_words}, below {FOLDER}"

    async def names(self) -> list[str]:
        """Return the names of what is there; BackupError, in words, if it cannot be read."""
        return (await self._run("repo-ls", FOLDER)).decode(errors="replace").split()

    async def write(self, name: str, content: bytes) -> None:
        """Write a file, which is there at once and whole."""
        await self._run("repo-put", "--raw", f"{FOLDER}/{name}", content=content)

    async def read(self, name: str) -> bytes:
        return await self._run("repo-get", "--raw", f"{FOLDER}/{name}")

    async def remove(self, names: Iterable[str]) -> None:
        for name in names:
            await self._run("repo-rm", f"{FOLDER}/{name}")

    async def _run(self, *arguments: str, content: bytes | None = None) -> bytes:
        if self._program is None:
            raise CenoteError("pgBackRest is not installed; see 'cenote doctor'")
        configuration = self._work / "service.conf"
        await asyncio.to_thread(self._write_configuration, configuration)
        return await self._program.read(
            configuration, self._work, "", *arguments, seconds=_SECONDS, content=content
        )

    def _write_configuration(self, path: Path) -> None:
        settings, owner = self._settings, self._account.owner
        assert settings.repository is not None
        credentials, key = settings.credentials(), path.with_name("service-sftp-key")
        text = pgbackrest.render(
            settings.repository, credentials, state=self._work, days=settings.days, key=key
        )
        files.make_directory(self._work, 0o700, owner)
        if (content := pgbackrest.private_key(credentials)) is not None:
            files.write(key, content, 0o600, owner, durable=False)
        files.write(path, text.encode(), 0o600, owner, durable=False)
