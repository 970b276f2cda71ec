"""What the repository has of a cluster, for an API that wants to recover it on this host.

The cluster need not be here: its record has the passphrase.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from uuid import UUID

from cenote.conf import pgbackrest
from cenote.engine.plan.context import HostContext
from cenote.errors import Unavailable
from cenote.host import files, lineage_marks
from cenote.host.backup_program import BackupProgram
from cenote.model.backups import Archived
from cenote.model.host_backups import HostBackups
from cenote.model.record import Secret
from cenote.rules import backup_info, lineages, repository_listing
from cenote.rules.repository_listing import Listing
from cenote.store.host_store import HostStore

SECONDS = 8.0  # for each question; an API waits somewhat longer for the answer


class ArchiveReader:
    """Reads the repository of one host; ``program`` is None where pgBackRest is missing."""

    def __init__(self, store: HostStore, context: HostContext, program: BackupProgram | None) -> None:
        self._store, self._context, self._program = store, context, program
        self._turns: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)  # its file has one name

    async def of(self, cluster_id: UUID) -> Archived:
        """Return what there is of a cluster; Unavailable, in words, where that cannot be read."""
        kept, program, passphrase = self._context.backups, self._program, self._passphrase(cluster_id)
        if kept is None or program is None:
            raise Unavailable("it keeps no backups, or pgBackRest is not installed there")
        configuration = self._context.layout.repository_check.with_name(f"{cluster_id}.conf")
        async with self._turns[cluster_id]:
            await asyncio.to_thread(self._write, kept, configuration, cluster_id, passphrase)
            try:
                return await self._read(kept, program, configuration, str(cluster_id))
            except ValueError as error:
                raise Unavailable(str(error)) from None
            finally:
                await asyncio.to_thread(files.remove, configuration)

    def _passphrase(self, cluster_id: UUID) -> Secret:
        stored, kept = self._store.cluster(cluster_id), self._context.backups
        plan = None if stored is None else stored.value.backups
        if plan is None or kept is None:
            raise Unavailable("no backups are kept of this cluster")
        return kept.open(plan.sealed_passphrase)

    def _write(self, kept: HostBackups, path: Path, cluster_id: UUID, passphrase: Secret) -> None:
        owner = self._context.server_ids
        files.make_directory(path.parent, 0o700, owner)
        text = pgbackrest.render(
            kept.repository,
            kept.credentials,
            state=path.parent,
            days=kept.days,
            stanza=str(cluster_id),
            passphrase=passphrase,
            # Only a server can be named, and nothing of it is asked.
            server=pgbackrest.Server(path.parent, 1, path.parent),
            key=self._context.layout.repository_key,
        )
        files.write(path, text.encode(), 0o600, owner, durable=False)

    async def _read(
        self, kept: HostBackups, program: BackupProgram, configuration: Path, stanza: str
    ) -> Archived:
        async def run(*arguments: str, of: str = "") -> str:
            return await program.run(configuration, configuration.parent, of, *arguments, seconds=SECONDS)

        async def listed(path: str) -> Listing:
            return repository_listing.parse(await run("repo-ls", "--output=json", path))

        info = backup_info.parse(await run("info", "--output=json", of=stanza), stanza)
        if info.problem:
            raise Unavailable(info.problem)
        archive = f"archive/{stanza}"
        newest = None
        if part := repository_listing.newest_archive(await listed(archive)):
            folders = repository_listing.newest_folders(await listed(f"{archive}/{part}"))
            times = [
                repository_listing.newest_file(await listed(f"{archive}/{part}/{one}")) for one in folders
            ]
            newest = max(filter(None, times), default=None)
        return Archived(
            repository=kept.repository.in_words,
            backups=backup_info.reported(info.backups),
            archived_at=newest,
            lineage=lineages.newest(
                await lineage_marks.names(program, configuration, configuration.parent, stanza)
            ),
        )
