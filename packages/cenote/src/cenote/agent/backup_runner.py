"""Backups of the clusters of a host: one at a time, the rest in turn, and what is known of them in reports.

It never stops or restarts a server, and nothing of a cluster waits for it: a repository that is away costs
backups, which are then made as soon as it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from cenote.agent import promotions, stanza_files
from cenote.agent.drill_runner import DrillRunner
from cenote.agent.known_backups import Known, KnownBackups, is_configured
from cenote.agent.node_pass import session_of
from cenote.agent.waiting import is_set_within
from cenote.conf import pgbackrest
from cenote.conf.hba import SUPERUSER
from cenote.engine.look.backups import passphrase_problem
from cenote.engine.plan.context import HostContext, NodeContext
from cenote.engine.plan.ending import CHECKPOINT
from cenote.errors import CenoteError
from cenote.host import files, lineage_marks, repository_disk, safe_open
from cenote.host.backup_program import BackupError, BackupProgram
from cenote.host.executor import Executor
from cenote.model.backups import BackupReport, BackupType, RepositoryKind
from cenote.rules import archiving, backup_info, backup_schedule, cluster_backups, repository_space
from cenote.rules.archiving import Archiver
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

BUSY_TRIES = 5  # that find another pgBackRest at work, before that is told
_ARCHIVER = (
    "SELECT current_setting('archive_mode'), date_trunc('second', last_archived_time), "
    "date_trunc('second', last_failed_time), "
    "CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END "
    "FROM pg_stat_archiver"
)
_LAGS_PROMOTION = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN false "
    "ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) <> lpad(upper(to_hex(timeline_id)), 8, '0') END "
    "FROM pg_control_checkpoint()"
)


class BackupRunner:
    """Makes the backups of one host."""

    def __init__(
        self,
        store: HostStore,
        context: HostContext,
        program: BackupProgram | None,
        executor: Executor | None = None,
    ) -> None:
        """``program`` is None where pgBackRest is missing; without ``executor`` no drills are made."""
        self._store, self._context, self._program = store, context, program
        self._timing = context.timing
        self._there = KnownBackups(store, context)
        self._drills = None if executor is None else DrillRunner(store, context, self._there, executor)
        self._changed = asyncio.Event()  # a cluster may be due

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="archiving")
            group.create_task(self._work(), name="backups")
            group.create_task(self._follow(), name="records of backups")
            if self._drills is not None and self._program is not None:
                group.create_task(self._drills.run(), name="restore drills")

    async def _follow(self) -> None:
        """Look for work when a record changes, such as when a backup is asked for."""
        with self._store.changes() as changes:
            async for _ in changes:
                self._changed.set()

    # -- Archiving

    async def _watch(self) -> None:
        while True:
            for context in self._there.contexts():
                known = self._there.of(context)
                if time.monotonic() < known.look_at and not self._has_news(context, known):
                    continue
                try:
                    await self._look_at_archiving(context, known)
                except (CenoteError, OSError) as error:  # a server that is down says so in its own report
                    log.debug("cluster %s: archiving: %s", context.in_words, error)
                except Exception:
                    log.exception("cluster %s: archiving: a defect in Cenote", context.in_words)
                pause = self._timing.archiving_interval
                known.look_at = time.monotonic() + (pause / 6 if known.report.unarchived else pause)
            await self._there.forget_others()
            await asyncio.sleep(self._timing.backup_poll_interval)

    def _has_news(self, context: NodeContext, known: Known) -> bool:
        """Return whether the archive script has begun to fail, or has ceased to, since the last look."""
        with contextlib.suppress(OSError):
            failed = files.mode_of_file(context.cluster_paths.backup_state / pgbackrest.FAILED) is not None
            return failed != known.had_failed and not known.report.impossible
        return False

    async def _look_at_archiving(self, context: NodeContext, known: Known) -> None:
        kept = self._context.backups
        assert kept is not None
        state = context.cluster_paths.backup_state
        said = files.read(state / pgbackrest.FAILED)
        known.had_failed = said is not None
        hindrance = kept.hindrance(context.version)
        if not hindrance and not is_configured(context):
            hindrance = passphrase_problem(context)
        if hindrance:
            known.report = replace(
                known.report, impossible=hindrance, by_default=kept.is_default, unarchived=""
            )
            await self._there.write(context, known)
            return
        session = session_of(context)
        try:
            [(mode, archived_at, failed_at, timeline)] = await session.rows(SUPERUSER, _ARCHIVER)
        finally:
            await session.close()
        _, reason = backup_info.error_of((said or b"").decode(errors="replace"))
        seen = Archiver(mode, archived_at, failed_at, reason, failing=said is not None)
        if timeline:
            await asyncio.to_thread(promotions.notice, context, timeline)
        lost_at = await asyncio.to_thread(gap_at, state, known.report)
        archived_to = await asyncio.to_thread(archived_before_gap, state)
        before = known.report  # a drill may have written into it meanwhile
        plan, told = context.cluster.backups, backup_schedule.with_loss(before, lost_at, archived_to)
        known.report = replace(
            backup_schedule.with_losses(told, () if plan is None else plan.losses),
            impossible="",
            by_default=False,
            archived_at=archiving.archived_at(seen, before.archived_at),
            unarchived=archiving.problem(seen, before.archived_at),
        )
        if archiving.waits_for_restart(known.report.unarchived):  # an attempt before this look says less
            known.report = replace(known.report, failure="", failed_at=None)
        if before.unarchived and not known.report.unarchived:
            known.try_now()  # the repository is back
            self._changed.set()
        if lost_at is not None or known.report.gap_at != before.gap_at:
            self._changed.set()
        await self._there.write(context, known)

    # -- Backups

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            for id in [context.cluster.id for context in self._there.contexts()]:
                context = self._there.context_now(id)  # a backup before it may have taken hours
                if self._program is None or context is None or context.backups is None:
                    continue
                known = self._there.of(context)
                if archiving.waits_for_restart(known.report.unarchived):
                    continue
                asked_at = None if context.cluster.backups is None else context.cluster.backups.asked_at
                if asked_at != known.asked_at:
                    known.asked_at = asked_at
                    known.try_now()
                if context.version != known.version:  # after an upgrade to another major version
                    known.version, known.is_read = context.version, False
                    known.try_now()
                if time.monotonic() < known.try_at or not is_configured(context):
                    continue
                try:
                    await self._bring_about(context, known, self._program)
                except (CenoteError, OSError) as error:
                    await self._failed(context, known, error)
                except Exception:
                    log.exception("cluster %s: backups: a defect in Cenote", context.in_words)
                    await self._failed(context, known, CenoteError("an unexpected error; see Cenote's log"))
            await is_set_within(self._changed, self._timing.backup_poll_interval)

    async def _bring_about(self, context: NodeContext, known: Known, program: BackupProgram) -> None:
        """Ask the repository, if that was not done, and make the backup that is due."""
        now = time.monotonic()
        if (
            not known.is_read
            or now >= known.ask_at
            or backup_schedule.due(context.cluster, known.report, datetime.now(UTC))
        ):
            await self._check_lineage(context, program)
        if not known.is_read or now >= known.ask_at:
            info = await self._info(context, program)
            if not info.is_made:
                await asyncio.to_thread(self._check_place, known)
                await self._run(context, program, *_server(context), "stanza-create")
                log.info("cluster %s: its place in the repository is made", context.in_words)
            if info.problem:
                raise BackupError(info.problem)
            if info.version not in ("", context.version):
                await self._run(context, program, *_server(context), "stanza-upgrade")
                # What comes now cannot be restored from what was before it; that stays as it is.
                # The former server has archived what it had, up to its last segment.
                since = await asyncio.to_thread(promotions.archived_to, context)
                known.report = backup_schedule.with_loss(known.report, datetime.now(UTC), since)
                log.info("cluster %s: PostgreSQL %s is backed up now", context.in_words, context.version)
            known.is_read, known.ask_at = True, now + self._timing.repository_interval
            # What was said of a stanza that is not there any more does not count.
            known.report = replace(
                known.report, backups=backup_info.reported(info.backups), repository=self._repository
            )
            await self._there.write(context, known)
        if not known.report.unarchived:
            await self._look_before_promotion(context, known, program)
        type = backup_schedule.due(context.cluster, known.report, datetime.now(UTC))
        if type is not None:
            if pause := await asyncio.to_thread(self._pause):
                raise BackupError(pause)
            await self._back_up(context, known, program, type)
        elif known.report.failure or known.backoff:  # what failed was a question, and it was answered now
            known.try_now()
            known.busy = 0
            known.report = replace(known.report, failure="", failed_at=None)
            await self._there.write(context, known)

    async def _look_before_promotion(
        self, context: NodeContext, known: Known, program: BackupProgram
    ) -> None:
        """Tell a gap if a node that was promoted does not have all that its predecessor had not archived."""
        try:
            lost = await promotions.lost(context, functools.partial(self._run, context, program))
        except ValueError as error:
            raise BackupError(str(error)) from None
        if lost is not None:
            log.warning("cluster %s: WAL from before %s is lost", context.in_words, lost.first)
            at = await asyncio.to_thread(promotions.note_gap, context, lost)
            known.report = backup_schedule.with_loss(known.report, at, lost.since)
            await self._there.write(context, known)

    async def _check_lineage(self, context: NodeContext, program: BackupProgram) -> None:
        """Raise BackupError where the cluster was recovered elsewhere, and the store does not say so here."""
        plan, paths = context.cluster.backups, context.cluster_paths
        assert plan is not None
        configuration, state = paths.backup_configuration, paths.backup_state
        await lineage_marks.check(program, configuration, state, str(context.cluster.id), plan.lineage)

    def _check_place(self, known: Known) -> None:
        """Raise BackupError where backups were that are not there; a new place for them would hide it."""
        kept = self._context.backups
        assert kept is not None
        is_gone = bool(known.report.backups) and known.report.repository == self._repository
        if kept.repository.kind is RepositoryKind.FILE:
            path = Path(kept.repository.path)
            is_gone = is_gone or not (path.is_dir() or path.parent.is_dir())
        if is_gone:
            raise BackupError(f"what was in {self._repository} is not there: is it mounted?")

    def _pause(self) -> str:
        """Return why no backup is made now, because of the disk that it shares with the data, or ""."""
        kept = self._context.backups
        if kept is None or not kept.on_disk_of_data:
            return ""
        return repository_space.pause(repository_disk.use(Path(kept.repository.path)))

    def _elsewhere(self, context: NodeContext) -> str:
        """Return why a backup of a node is of no use any more, "" if it is: another one's may begin."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(context.cluster.id)
            if stored is not None:
                leader = self._store.leader(stored.value)
                return cluster_backups.elsewhere(stored.value, context.node.name, leader)
        return ""

    @property
    def _repository(self) -> str:
        kept = self._context.backups
        return "" if kept is None else kept.repository.in_words

    async def _back_up(
        self, context: NodeContext, known: Known, program: BackupProgram, type: BackupType
    ) -> None:
        if type is BackupType.FULL:
            await _outwait(context.cluster_paths.backup_state / pgbackrest.GAP)
        await _settle_promotion(context)
        known.report = replace(known.report, running=type, progress=None)
        await self._there.write(context, known)
        making = self._run(context, program, *_server(context), f"--type={type}", "backup", seconds=None)
        ask = functools.partial(self._run, context, program)
        try:
            if ended := await self._make(making, self._follow_progress(context, known, program)):
                if not self._elsewhere(context):  # else it may be the other node's that is not complete
                    complete = [one.label for one in (await self._info(context, program)).backups]
                    await stanza_files.remove_unfinished(ask, context.cluster.id, complete)
                raise BackupError(ended)
            info = await self._info(context, program)
            archived = await stanza_files.archive_bytes(ask, context.cluster.id)
        finally:
            known.report = replace(known.report, running=None, progress=None)
        known.try_now()
        known.busy, known.look_at = 0, 0.0  # WAL was archived with it
        known.report = replace(
            known.report,
            backups=backup_info.reported(info.backups),
            repository=self._repository,
            archive_bytes=known.report.archive_bytes if archived is None else archived,
            failure="",
            failed_at=None,
        )
        log.info("cluster %s: backed up (%s)", context.in_words, type)
        await self._there.write(context, known)

    async def _make(self, making: Coroutine[Any, Any, str], following: Coroutine[Any, Any, str]) -> str:
        """Make a backup, and return ""; or end it, and return why, as soon as ``following`` does."""
        made = asyncio.create_task(making, name="backup")
        followed = asyncio.create_task(following, name="progress")
        try:
            await asyncio.wait([made, followed], return_when=asyncio.FIRST_COMPLETED)
            if not made.done():
                made.cancel()
                await asyncio.wait([made])
                return followed.result()
            made.result()
            return ""
        finally:
            for task in (made, followed):
                task.cancel()
            await asyncio.wait([made, followed])

    async def _follow_progress(self, context: NodeContext, known: Known, program: BackupProgram) -> str:
        """Tell how far a backup is; return why it has to end, once it has."""
        while True:
            await asyncio.sleep(self._timing.backup_progress_interval)
            if ended := self._elsewhere(context) or await asyncio.to_thread(self._pause):
                return ended
            with contextlib.suppress(CenoteError, OSError):
                info = await self._info(context, program)
                if info.progress is not None and known.report.running is not None:
                    known.report = replace(known.report, progress=info.progress)
                    await self._there.write(context, known)

    async def _info(self, context: NodeContext, program: BackupProgram) -> backup_info.Info:
        text = await self._run(context, program, "--output=json", "info")
        try:
            return backup_info.parse(text, str(context.cluster.id))
        except ValueError as error:
            raise BackupError(str(error)) from None

    async def _run(
        self, context: NodeContext, program: BackupProgram, *arguments: str, seconds: float | None = 60.0
    ) -> str:
        paths = context.cluster_paths
        return await program.run(
            paths.backup_configuration,
            paths.backup_state,
            str(context.cluster.id),
            *arguments,
            seconds=seconds,
        )

    async def _failed(self, context: NodeContext, known: Known, error: CenoteError | OSError) -> None:
        """Try again later; another backup of the cluster may still run, from before this process."""
        known.is_read = False
        known.backoff = min(
            max(known.backoff * 2, self._timing.backup_retry_first), self._timing.backup_retry_max
        )
        known.try_at = time.monotonic() + known.backoff
        is_busy = isinstance(error, BackupError) and error.code == backup_info.ALREADY_RUNNING
        known.busy = known.busy + 1 if is_busy else 0
        if is_busy and known.busy < BUSY_TRIES:
            return
        words = error.message if isinstance(error, CenoteError) else str(error.strerror or error)
        if words != known.report.failure:
            log.warning("cluster %s: no backup: %s", context.in_words, words)
        at = datetime.now(UTC).replace(microsecond=0)
        known.report = replace(known.report, failure=words, failed_at=at, running=None, progress=None)
        await self._there.write(context, known)


def _server(context: NodeContext) -> tuple[str, ...]:
    """Return the options that name the server of a node, since several of a cluster may be on one host."""
    return f"--pg1-path={context.paths.data}", f"--pg1-port={context.node.port}"


async def _settle_promotion(context: NodeContext) -> None:
    """Write the first checkpoint of a server that was just promoted, which pgBackRest refuses until then."""
    session = session_of(context)
    try:
        [(lags,)] = await session.rows(SUPERUSER, _LAGS_PROMOTION)
        if lags:
            await session.run(SUPERUSER, "writing a checkpoint", CHECKPOINT, atomic=False)
    finally:
        await session.close()


async def _outwait(gap: Path) -> None:
    """Let the second of a gap pass, since a backup has only whole seconds to show that it began after it."""
    lost = files.modified_at(gap)
    if lost is not None:
        await asyncio.sleep(min(1.0, max(0.0, 1.0 - (datetime.now(UTC) - lost).total_seconds())))


def gap_at(state: Path, report: BackupReport) -> datetime | None:
    """Return when WAL was lost last that no full backup covers yet, by the files of the archive script.

    A covered one is put aside and removed at the next look: the script may just be writing to it.
    """
    gap, aside = state / pgbackrest.GAP, state / pgbackrest.COVERED_GAP
    put_aside = files.modified_at(aside)
    if put_aside is not None and backup_schedule.is_covered(report, put_aside):
        files.remove(aside)
        put_aside = None
    lost = files.modified_at(gap)
    if lost is not None and put_aside is None and backup_schedule.is_covered(report, lost):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            safe_open.rename_new(gap, aside)
        lost = None
    return backup_schedule.latest(lost, put_aside)


def archived_before_gap(state: Path) -> datetime | None:
    """Return up to when all was archived before a segment was dropped, as the archive script has noted it.

    None if it has not, for one of the segments.
    """
    text = b"".join(files.read(state / name) or b"" for name in _GAPS).decode(errors="replace")
    found = [re.fullmatch(r"\S+ ([0-9]{1,12})", line) for line in text.splitlines()]
    times = [int(match[1]) for match in found if match is not None]
    if not times or len(times) < len(found):
        return None
    return datetime.fromtimestamp(min(times), UTC) - _CLOCK


_GAPS = (pgbackrest.GAP, pgbackrest.COVERED_GAP)
_CLOCK = timedelta(seconds=1)  # a commit has its time a moment before it is in a segment
