"""Restore drills: the newest backup of a cluster, and the WAL up to now, restored aside, checked and removed.

One at a time on a host, at the lowest priority.  A drill comes to a result, which is told until the next one,
or to none, such as without room; then it is tried again.  One that was killed is cleared away at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from cenote.agent.known_backups import Known, KnownBackups, is_configured
from cenote.agent.node_pass import session_of
from cenote.conf.hba import SUPERUSER
from cenote.engine.look.backups import passphrase, passphrase_problem
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError
from cenote.host import drill_checks, files
from cenote.host.backup_program import BackupError
from cenote.host.drill_checks import DrillFailed
from cenote.host.executor import Executor
from cenote.host.restored_copy import (
    CopyPlace,
    RecoveryFailed,
    RestoredCopy,
    Source,
    check_tablespaces,
)
from cenote.model.backups import Backup, Drill
from cenote.model.paths import ClusterPaths
from cenote.rules import backup_info, drills, recovery_log, restorable
from cenote.rules.backup_info import Archive
from cenote.rules.drills import Check
from cenote.rules.recovery_log import Outcome
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_ARCHIVED = "SELECT last_archived_wal FROM pg_stat_archiver"
_KEY = "is the passphrase correct?"
# Codes of pgBackRest that say nothing of the backup: no answer, a lock, an end by a signal, a full disk.
_NO_RESULT = frozenset({0, 49, 50, 63, 64, 66, 103})


class DrillRunner:
    """Makes the drills of one host."""

    def __init__(
        self, store: HostStore, context: HostContext, known: KnownBackups, executor: Executor
    ) -> None:
        self._store, self._context, self._there, self._executor = store, context, known, executor

    async def run(self) -> None:
        """Run until cancelled."""
        await self._clear_up()
        while True:
            for id in [context.cluster.id for context in self._there.contexts()]:
                context = self._there.context_now(id)
                if context is not None and context.backups is not None and is_configured(context):
                    await self._look(context, self._there.of(context))
            await asyncio.sleep(self._context.timing.backup_poll_interval)

    async def _clear_up(self) -> None:
        """Remove what a former process has left."""
        for paths in self._context.layout.hosted():
            if files.mode_of(paths.drill) is not None:
                with contextlib.suppress(CenoteError, OSError):
                    await self._copy(paths, None, self._context.binaries).clear()

    async def _look(self, context: NodeContext, known: Known) -> None:
        kept = context.backups
        assert kept is not None
        asked_at = drills.asked_at(context.cluster)
        if asked_at != known.drill_asked_at:
            known.drill_asked_at, known.drill_at = asked_at, 0.0
        now = datetime.now(UTC)
        if time.monotonic() < known.drill_at or not drills.is_due(
            context.cluster, known.report, kept.drill_days, now
        ):
            return
        try:
            await self._drill(context, known)
        except (CenoteError, OSError) as error:
            words = error.message if isinstance(error, CenoteError) else str(error.strerror or error)
            await self._no_result(context, known, words)
        except Exception:
            log.exception("cluster %s: drill: a defect in Cenote", context.in_words)
            await self._no_result(context, known, "an unexpected error; see Cenote's log")

    async def _no_result(self, context: NodeContext, known: Known, words: str) -> None:
        known.drill_at = time.monotonic() + self._context.timing.drill_retry
        log.warning("cluster %s: no restore drill: %s", context.in_words, words)
        now = datetime.now(UTC)
        known.report = replace(known.report, drilling="", undrilled=words, undrilled_at=now)
        await self._there.write(context, known)

    async def _drill(self, context: NodeContext, known: Known) -> None:
        """Make one drill and tell its result."""
        began = datetime.now(UTC)
        attempt = _Attempt(context, self._copy_of(context), self._executor, known, self._there)
        check, failure, backups = "", "", known.report.backups
        try:
            await attempt.run()
        except DrillFailed as error:
            if known.report.backups != backups:  # what was looked at may have been removed meanwhile
                raise CenoteError("a backup was made or expired meanwhile") from None
            check, failure = str(error.check), error.message
        finally:
            known.report = replace(known.report, drilling="")
            await attempt.copy.clear()
        result = Drill(
            label=attempt.label,
            started_at=began,
            ended_at=datetime.now(UTC),
            check=check,
            failure=failure,
        )
        how = f"failed: {check}: {failure}" if failure else "found nothing wrong"
        log.log(
            logging.ERROR if failure else logging.INFO,
            "cluster %s: restore drill of backup %s %s",
            context.in_words,
            attempt.label or "?",
            how,
        )
        known.drill_at = 0.0
        known.report = replace(known.report, drill=result, undrilled="", undrilled_at=None)
        await self._there.write(context, known)

    def _copy_of(self, context: NodeContext) -> RestoredCopy:
        kept, secret = context.backups, passphrase(context)
        assert kept is not None
        if secret is None:
            raise CenoteError(passphrase_problem(context) or "its backups have no passphrase yet")
        source = Source(str(context.cluster.id), secret, kept)
        return self._copy(context.cluster_paths, source, context.host.binaries, context.cluster.version)

    def _copy(
        self, paths: ClusterPaths, source: Source | None, binaries: dict[str, Path], version: str = ""
    ) -> RestoredCopy:
        place = CopyPlace(paths.drill_data, paths.drill, paths.drill_sockets)
        accounts = self._context.service_user, self._context.server_user
        return RestoredCopy(place, self._executor, binaries.get(version, Path("missing")), accounts, source)


class _Attempt:
    def __init__(
        self,
        context: NodeContext,
        copy: RestoredCopy,
        executor: Executor,
        known: Known,
        there: KnownBackups,
    ) -> None:
        self._context, self.copy, self._known, self._there = context, copy, known, there
        self._account = executor.account
        self._interval = context.host.timing.backup_progress_interval
        self.label = ""
        self._words = ""

    async def run(self) -> None:
        copy = self.copy
        await copy.clear()
        await asyncio.to_thread(copy.prepare)
        archived = await self._last_archived()
        await self._tell("reading the repository")
        info = await self._info()
        backup = info.backups[-1]
        self.label = backup.label
        if backup.damaged:
            raise DrillFailed(Check.PAGES, "pages with wrong checksums were found as the backup was made")
        await self._check_archive(info, backup, archived)
        copy.check_room(backup.size)
        check_tablespaces(self._context.paths.data)
        async with self._telling():
            await self._restore(backup)
            await self._recover(info.archives[backup.label].newest)
            await self._tell("checking tables and indexes")
            await self._check_running()
            await copy.stop()
            await self._tell("checking the checksum of each page")
            binaries, place = self._context.server_binaries, copy.place
            await drill_checks.checksums(binaries, place, self._account)
            await self._tell("verifying the repository")
            await self._verify()

    # -- How far it is

    def _say(self, words: str) -> None:
        self._words = words

    async def _tell(self, words: str) -> None:
        self._words = words
        self._known.report = replace(self._known.report, drilling=words)
        await self._there.write(self._context, self._known)

    @contextlib.asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        async def tell() -> None:
            while True:
                await asyncio.sleep(self._interval)
                if self._words != self._known.report.drilling:
                    await self._tell(self._words)

        telling = asyncio.create_task(tell(), name="progress of a drill")
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    # -- The steps

    async def _last_archived(self) -> str:
        """Return the segment that the living server says it has archived last, "" if it does not say."""
        session = session_of(self._context)
        try:
            [(name,)] = await session.rows(SUPERUSER, _ARCHIVED)
        except (CenoteError, OSError):  # its own report says why
            return ""
        finally:
            await session.close()
        return str(name or "")

    async def _info(self) -> backup_info.Info:
        try:
            info = await self.copy.info()
        except BackupError as error:
            if _KEY in error.message:
                raise DrillFailed(Check.KEY, error.message) from None
            raise
        if not info.is_made or not info.backups:
            raise DrillFailed(Check.REPOSITORY, "the repository has no backup of it any more")
        return info

    async def _check_archive(self, info: backup_info.Info, backup: Backup, archived: str) -> None:
        """Check that no segment is missing from the first backup on, or from this one after a known gap."""
        archive = info.archives[backup.label]
        first = archive.first if self._known.report.gap_at is not None else _first(info, archive)
        folder = f"archive/{self._context.cluster.id}/{archive.folder}"
        there = drills.segments(await self._asked("repo-ls", "--recurse", folder))
        missing = drills.missing(there, first)
        if missing:
            raise DrillFailed(Check.ARCHIVE, f"the segment of WAL {missing} is missing in the archive")
        if drills.is_segment(archived) and archived not in there:
            raise DrillFailed(
                Check.ARCHIVE, f"the segment of WAL {archived}, which was archived, is missing in the archive"
            )

    async def _asked(self, *arguments: str) -> str:
        return await self.copy.pgbackrest(*arguments, seconds=None)

    async def _restore(self, backup: Backup) -> None:
        await self._tell(f"restoring the backup {backup.label}")
        try:
            await self.copy.copy_backup(backup, datetime.now(UTC), self._say, self._interval)
        except BackupError as error:
            if error.code in _NO_RESULT:
                raise
            raise DrillFailed(Check.RESTORE, error.message) from None

    async def _recover(self, newest: str) -> None:
        await self._tell("replaying WAL")
        try:
            await self.copy.recover(None, self._say, self._interval, newest)
        except RecoveryFailed as error:
            if error.failure.outcome is Outcome.KILLED:
                raise
            raise DrillFailed(Check.RECOVERY, error.message) from None
        last = recovery_log.last_segment(await asyncio.to_thread(self.copy.log))
        if missing := restorable.missing_after(last, newest):
            raise DrillFailed(Check.RECOVERY, missing)

    async def _check_running(self) -> None:
        binaries = self._context.server_binaries
        await drill_checks.sizes(self.copy)
        await drill_checks.amcheck(binaries, self.copy.place, self._account)

    async def _verify(self) -> None:
        """Have pgBackRest read all that there is in the repository; it says what is wrong, and ends well."""
        said = await self._asked("--output=text", "verify")
        if (wrong := drills.verify_problem(said)) != "":
            raise DrillFailed(Check.VERIFY, wrong)


def _first(info: backup_info.Info, archive: Archive) -> str:
    """Return the first segment that the oldest backup of the same folder needs."""
    firsts = (info.archives[backup.label] for backup in info.backups)
    return next(one.first for one in firsts if one.folder == archive.folder)
