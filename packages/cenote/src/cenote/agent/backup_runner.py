"""Backups of the clusters of a host: one at a time, the rest in turn, and what is known of them in reports.

It never stops or restarts a server, and nothing of a cluster waits for it: a repository that is away costs
backups, which are then made as soon as it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from cenote.agent.node_pass import session_of
from cenote.agent.waiting import is_set_within
from cenote.conf import pgbackrest
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import HostContext, NodeContext, NodeKind
from cenote.errors import CenoteError
from cenote.host import files
from cenote.host.backup_program import BackupError, BackupProgram
from cenote.model.backups import BackupReport, BackupType
from cenote.model.records import Cluster
from cenote.rules import archiving, backup_info, backup_schedule
from cenote.rules.archiving import Archiver
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

# How often what is shown of archiving is written, while nothing else changes: each write is one of etcd.
ARCHIVED_STEP = timedelta(minutes=5)
_ARCHIVER = (
    "SELECT current_setting('archive_mode'), date_trunc('second', last_archived_time), "
    "date_trunc('second', last_failed_time) FROM pg_stat_archiver"
)


@dataclass(slots=True)
class _Known:
    """What this process knows of a cluster's backups; times are monotonic."""

    node: str
    report: BackupReport
    written: BackupReport | None = None
    is_read: bool = False  # the repository was asked since the start, or since the last failure
    look_at: float = 0.0
    ask_at: float = 0.0
    try_at: float = 0.0
    backoff: float = 0.0
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class BackupRunner:
    """Makes the backups of one host."""

    def __init__(self, store: HostStore, context: HostContext, program: BackupProgram | None) -> None:
        """``program`` is None where pgBackRest is missing."""
        self._store, self._context, self._program = store, context, program
        self._timing = context.timing
        self._known: dict[UUID, _Known] = {}
        self._changed = asyncio.Event()  # a cluster may be due

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(), name="archiving")
                group.create_task(self._work(), name="backups")
                group.create_task(self._follow(), name="records of backups")
        finally:
            if self._program is not None:
                self._program.close()

    async def _follow(self) -> None:
        """Look for work when a record changes, such as when a backup is asked for."""
        with self._store.changes() as changes:
            async for _ in changes:
                self._changed.set()

    # -- Archiving

    async def _watch(self) -> None:
        while True:
            for context in self._contexts():
                known = self._known_of(context)
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
            self._forget_others()
            await asyncio.sleep(self._timing.backup_poll_interval)

    def _has_news(self, context: NodeContext, known: _Known) -> bool:
        """Return whether the archive script has begun to fail, or has ceased to."""
        with contextlib.suppress(OSError):
            failed = files.mode_of_file(context.cluster_paths.backup_state / pgbackrest.FAILED) is not None
            return failed != bool(known.report.unarchived) and not known.report.impossible
        return False

    async def _look_at_archiving(self, context: NodeContext, known: _Known) -> None:
        kept = self._context.backups
        assert kept is not None
        if hindrance := kept.hindrance(context.cluster.version):
            known.report = replace(known.report, impossible=hindrance, unarchived="")
            await self._write(context, known)
            return
        session = session_of(context)
        try:
            [(mode, archived_at, failed_at)] = await session.rows(SUPERUSER, _ARCHIVER)
        finally:
            await session.close()
        state = context.cluster_paths.backup_state
        said = files.read(state / pgbackrest.FAILED) or b""
        _, reason = backup_info.error_of(said.decode(errors="replace"))
        seen = Archiver(mode, archived_at, failed_at, reason)
        gap = state / pgbackrest.GAP
        gap_at = files.modified_at(gap)
        if gap_at is not None and backup_schedule.is_covered(known.report, gap_at):
            await asyncio.to_thread(files.remove, gap)
        known.report = replace(
            known.report,
            impossible="",
            archived_at=known.report.archived_at if seen.archived_at is None else seen.archived_at,
            unarchived=archiving.problem(seen, known.report.archived_at),
            gap_at=gap_at or known.report.gap_at,
        )
        if gap_at is not None:
            self._changed.set()
        await self._write(context, known)

    # -- Backups

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            for id in [context.cluster.id for context in self._contexts()]:
                context = self._context_now(id)  # a backup before it may have taken hours
                if self._program is None or context is None or context.backups is None:
                    continue
                known = self._known_of(context)
                if time.monotonic() < known.try_at or not self._is_configured(context):
                    continue
                try:
                    await self._bring_about(context, known, self._program)
                except (CenoteError, OSError) as error:
                    await self._failed(context, known, error)
                except Exception:
                    log.exception("cluster %s: backups: a defect in Cenote", context.in_words)
                    await self._failed(context, known, CenoteError("an unexpected error; see Cenote's log"))
            await is_set_within(self._changed, self._timing.backup_poll_interval)

    async def _bring_about(self, context: NodeContext, known: _Known, program: BackupProgram) -> None:
        """Ask the repository, if that was not done, and make the backup that is due."""
        now = time.monotonic()
        if not known.is_read or now >= known.ask_at:
            info = await self._info(context, program)
            if not info.is_made:
                await self._run(context, program, "stanza-create")
                log.info("cluster %s: its place in the repository is made", context.in_words)
            if info.problem:
                raise BackupError(info.problem)
            known.is_read, known.ask_at = True, now + self._timing.repository_interval
            # What was said of a stanza that is not there any more does not count.
            known.report = replace(known.report, backups=info.backups)
            await self._write(context, known)
        type = backup_schedule.due(context.cluster, known.report, datetime.now(UTC))
        if type is not None:
            await self._back_up(context, known, program, type)

    async def _back_up(
        self, context: NodeContext, known: _Known, program: BackupProgram, type: BackupType
    ) -> None:
        known.report = replace(known.report, running=type, progress=None)
        await self._write(context, known)
        following = asyncio.create_task(self._follow_progress(context, known, program), name="progress")
        try:
            await self._run(context, program, f"--type={type}", "backup", seconds=None)
            info = await self._info(context, program)
        finally:
            following.cancel()
            await asyncio.wait([following])
            known.report = replace(known.report, running=None, progress=None)
        known.backoff, known.try_at, known.look_at = 0.0, 0.0, 0.0  # WAL was archived with it
        known.report = replace(known.report, backups=info.backups, failure="", failed_at=None)
        log.info("cluster %s: backed up (%s)", context.in_words, type)
        await self._write(context, known)

    async def _follow_progress(self, context: NodeContext, known: _Known, program: BackupProgram) -> None:
        while True:
            await asyncio.sleep(self._timing.backup_progress_interval)
            with contextlib.suppress(CenoteError, OSError):
                info = await self._info(context, program)
                if info.progress is not None and known.report.running is not None:
                    known.report = replace(known.report, progress=info.progress)
                    await self._write(context, known)

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

    async def _failed(self, context: NodeContext, known: _Known, error: CenoteError | OSError) -> None:
        """Try again later; another backup of the cluster may still run, from before this process."""
        known.is_read = False
        known.backoff = min(
            max(known.backoff * 2, self._timing.backup_retry_first), self._timing.backup_retry_max
        )
        known.try_at = time.monotonic() + known.backoff
        if isinstance(error, BackupError) and error.code == backup_info.ALREADY_RUNNING:
            return
        words = error.message if isinstance(error, CenoteError) else str(error.strerror or error)
        if words != known.report.failure:
            log.warning("cluster %s: no backup: %s", context.in_words, words)
        at = datetime.now(UTC).replace(microsecond=0)
        known.report = replace(known.report, failure=words, failed_at=at, running=None, progress=None)
        await self._write(context, known)

    # -- What is there

    def _contexts(self) -> list[NodeContext]:
        """Return the nodes of this host that take writes, have been online and are to be backed up."""
        return [context for cluster in self._store.living_clusters() for context in self._context_of(cluster)]

    def _context_now(self, id: UUID) -> NodeContext | None:
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(id)
            if stored is not None and stored.value.deleted_at is None:
                return next(iter(self._context_of(stored.value)), None)
        return None

    def _context_of(self, cluster: Cluster) -> list[NodeContext]:
        with contextlib.suppress(NewerFormat):
            for node in cluster.nodes:
                if node.host != self._store.host_id or cluster.backups is None:
                    continue
                context = NodeContext(cluster, node, self._context)
                status = self._store.status(cluster.id, node.name)
                if NodeKind.WRITER in context.kinds and status is not None and status.reached > 0:
                    return [context]
        return []

    def _is_configured(self, context: NodeContext) -> bool:
        """Return whether a pass has written what pgBackRest needs."""
        paths = context.cluster_paths
        is_written = files.mode_of_file(paths.backup_configuration) is not None
        return is_written and files.mode_of(paths.backup_state) is not None

    def _known_of(self, context: NodeContext) -> _Known:
        known = self._known.get(context.cluster.id)
        if known is None or known.node != context.node.name:
            status = self._store.status(context.cluster.id, context.node.name)
            former = (status.backups if status is not None else None) or BackupReport()
            report = replace(former, running=None, progress=None)
            known = self._known[context.cluster.id] = _Known(context.node.name, report, former)
        return known

    def _forget_others(self) -> None:
        there = {context.cluster.id for context in self._contexts()}
        for id in [id for id in self._known if id not in there]:
            del self._known[id]

    async def _write(self, context: NodeContext, known: _Known) -> None:
        """Write what is known, unless nothing is new but that WAL goes on being archived."""
        report, written = known.report, known.written
        if written is not None and report.archived_at is not None and written.archived_at is not None:
            is_small = report.archived_at - written.archived_at < ARCHIVED_STEP
            if is_small and replace(report, archived_at=written.archived_at) == written:
                return
        if report != written:
            known.written = report
            await self._store.backed_up(context.cluster.id, context.node.name, report)
