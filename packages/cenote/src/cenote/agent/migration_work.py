"""One online migration, from its first step to its end, whoever has done the steps before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
from msgspec.structs import replace

from cenote.agent.migration_copy import (
    Copying,
    DatabaseCopy,
    MigrationFailed,
    identities,
    make_folder,
    name_of,
    sync_slots,
)
from cenote.agent.migration_roles import ROLE_MARK, STAND_IN_MARK, Roles
from cenote.agent.migration_target import MigrationTarget
from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError, Misconfigured, Unavailable
from cenote.host.executor import Executor
from cenote.host.migration_programs import ProgramFailed
from cenote.host.migration_source import LostSlot, Source
from cenote.host.source_answers import SourceProblem, in_short
from cenote.model.changes import Remove
from cenote.model.migrations import (
    DatabaseProgress,
    Method,
    MigrationReport,
    MigrationStatus,
    Step,
    Wish,
)
from cenote.model.parts import PartName
from cenote.rules import in_force, online_migrations
from cenote.rules.migration_checks import some
from cenote.rules.migration_lag import LagClock
from cenote.security.sealing import Sealer
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_TELL_SECONDS = 5.0  # between reports that only have other numbers
_RETRY_SECONDS, _RETRY_MOST = 1.0, 15.0
_CLEANING = 60.0  # the same when a migration is given up
_MOST_WARNINGS, _MOST_CHARACTERS = 50, 1000
_MORE_WARNINGS = "There are more warnings; Cenote's log has them."
_CLOSED = frozenset({PartName.SERVER})
_AGAIN = (CenoteError, psycopg.Error, OSError)


class MigrationWork:
    def __init__(
        self,
        store: HostStore,
        executor: Executor,
        sealer: Sealer,
        context: NodeContext,
        context_now: Callable[[UUID], NodeContext | None],
        look_again: Callable[[UUID], Awaitable[None]],
    ) -> None:
        migration = online_migrations.active(context.cluster)
        assert migration is not None
        self._store, self._executor, self._sealer = store, executor, sealer
        self._context, self._context_now, self._look_again = context, context_now, look_again
        self._migration, self._id = migration, context.cluster.id
        self._target = MigrationTarget(context, migration.id)
        self._folder = context.cluster_paths.root / "migration"
        statuses = {node.name: store.status(self._id, node.name) for node in context.cluster.nodes}
        known = online_migrations.begun(migration, context.node.name, statuses)
        self._report, self._written, self._told_at = known, MigrationReport(id=migration.id), 0.0
        self._patience = online_migrations.Patience()
        self._clocks: dict[str, LagClock] = {}
        self._marks: set[str] = set()
        # Objects get their owners: there is no way back.  None until the server has told whether it is so.
        self._is_ending: bool | None = True if known.ready else None

    # -- The whole

    async def run(self) -> None:
        """Bring the migration to its end, unless another host takes it over."""
        log.info("cluster %s: online migration from %s", self._context.in_words, self._migration.source.host)
        try:
            working = asyncio.create_task(self._work(), name="work on a migration")
            watching = asyncio.create_task(self._given_up(), name="wish for its end")
            try:
                await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (working, watching):
                    if not task.done():
                        task.cancel()
                await asyncio.gather(working, watching, return_exceptions=True)
            if watching.cancelled() or watching.exception() is not None:
                await self._after(working)
            elif watching.result():
                await self._give_up(MigrationStatus.CANCELED, "")
        finally:
            await self._target.close()
            with contextlib.suppress(*_AGAIN):
                await self._executor.do(Remove(self._folder), self._target.session)
            await self._target.close()

    async def _after(self, working: asyncio.Task[None]) -> None:
        if working.cancelled():
            return
        error = working.exception()
        if error is None:
            await self._end(MigrationStatus.DONE, "")
        elif isinstance(error, CenoteError):
            log.error("cluster %s: online migration failed: %s", self._context.in_words, error)
            await self._give_up(MigrationStatus.ERROR, error.message)
        else:
            log.error("cluster %s: online migration: a defect in Cenote", self._id, exc_info=error)
            await self._give_up(MigrationStatus.ERROR, "an unexpected error; see Cenote's log")

    async def _given_up(self) -> bool:
        """Return once the migration is not wanted any more: True, or False when it is not this node's."""
        while True:
            context = self._context_now(self._id)
            stored = self._store.cluster(self._id)
            if stored is None or stored.value.deleted_at is not None:
                return True
            if context is None or context.node != self._context.node:
                return False
            migration = stored.value.online_migration
            if migration is None or migration.id != self._migration.id or migration.is_over:
                return False
            is_early = self._report.status is MigrationStatus.RUNNING
            gives_up = migration.wish is Wish.CANCEL or (migration.wish is Wish.STOP and is_early)
            if gives_up and self._is_ending is False:
                return True
            self._migration = migration
            await asyncio.sleep(_POLL_SECONDS)

    async def _work(self) -> None:
        """Try until it is done; MigrationFailed once it is in vain."""
        pause = _RETRY_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._attempt()
            except (MigrationFailed, LostSlot):
                raise
            except _AGAIN as error:
                words = error.message if isinstance(error, CenoteError) else str(error).strip()
                await self._in_trouble(words, began, of_program=isinstance(error, ProgramFailed))
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_MOST)

    async def _in_trouble(self, words: str, began: float, *, of_program: bool) -> None:
        log.warning("cluster %s: online migration: %s", self._context.in_words, words)
        is_vain = self._patience.is_over(began, time.monotonic(), of_program=of_program)
        is_early = self._report.status is MigrationStatus.RUNNING and not self._is_ending
        if is_early and is_vain:
            raise MigrationFailed(words)
        await self._tell(reason=words)

    async def _attempt(self) -> None:
        if self._report.ready:
            await self._open()
            return
        await self._remember()
        await self._closed()
        shared = await self._copying()
        copies = [DatabaseCopy(shared, self._progress(name)) for name in self._migration.databases]
        for copy in copies:
            await copy.begin()
            await self._tell(reason="")
        if "ending" not in shared.marks:
            if self._migration.method is Method.LOGICAL:
                await self._tell(status=MigrationStatus.SYNCING, reason="")
                await self._follow(shared)
            self._is_ending = True
            await shared.note("ending")
        for copy in copies:
            await copy.part()
        roles = Roles(self._target, await shared.source.verifiers())
        for copy in copies:
            await copy.finish(roles)
            await self._tell()
        for warning in roles.warnings:
            self._warn(warning)
        await self._clean_source()
        await self._drop_roles(STAND_IN_MARK)
        await self._target.end()
        await self._open()

    async def _remember(self) -> None:
        """Learn from the server how far it is, which another node may have reported."""
        marks, migration = await self._target.marks(), self._migration
        is_copied = all(f"indexes {name}" in marks for name in migration.databases)
        if is_copied and migration.method is Method.LOGICAL:
            await self._tell(status=MigrationStatus.SYNCING)
        self._is_ending = "ending" in marks

    async def _open(self) -> None:
        """Have the databases opened, and wait until customers can enter them."""
        while not (self._migration.opened and self._is_in_force()):
            await self._tell(ready=True, reason="the databases are being opened")
            await asyncio.sleep(_POLL_SECONDS / 5)
        await self._listed()

    async def _listed(self) -> None:
        """Wait until the API lists the databases that SQL has made, and none that it has dropped."""
        pause = _POLL_SECONDS / 5
        while not self._is_deleted():
            # A pass that is under way may have read the databases before, so this always waits for another.
            await self._look_again(self._id)
            if await self._are_listed():
                return
            await self._tell(reason="the databases of the cluster are being listed anew")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_MOST)

    async def _are_listed(self) -> bool:
        stored = self._store.cluster(self._id)
        if stored is None:
            return False
        there = await self._target.databases()
        status = self._store.status(self._id, self._context.node.name)
        return online_migrations.are_listed(self._migration.databases, there, stored.value, status)

    def _is_in_force(self) -> bool:
        """Return whether the server has read which databases are closed."""
        stored = self._store.cluster(self._id)
        status = self._store.status(self._id, self._context.node.name)
        if stored is None or status is None:
            return False
        return in_force.progress(status, stored.revision, _CLOSED).in_force

    async def _closed(self) -> None:
        """Wait until customers cannot enter the databases any more, and the role that restores can."""
        while not self._is_in_force():
            await self._tell(reason="the databases are being closed to other users")
            await asyncio.sleep(_POLL_SECONDS / 5)

    async def _copying(self) -> Copying:
        try:
            password = self._sealer.open(self._migration.source.sealed_password)
        except Misconfigured as error:
            raise MigrationFailed(error.message) from None
        shared = Copying(
            migration=self._migration,
            source=Source(self._migration.source, password),
            target=self._target,
            executor=self._executor,
            folder=self._folder,
            tell=self._take,
            warn=self._warn,
            marks=await self._target.marks(),
        )
        self._marks = shared.marks
        await self._target.begin()
        await make_folder(self._executor, self._target, self._folder)
        return shared

    # -- While changes follow

    async def _follow(self, shared: Copying) -> None:
        """Tell the lag until somebody wants the end, and all that the source had by then is here."""
        names = {name: shared.name(name) for name in self._migration.databases}
        before = {name: await self._target.failures(slot) for name, slot in names.items()}
        while True:
            await self._tell_lag(shared, names, before)
            if self._migration.wish in (Wish.FINISH, Wish.STOP) and await self._caught_up(shared, names):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _tell_lag(self, shared: Copying, names: dict[str, str], before: dict[str, int]) -> None:
        reason = ""
        try:
            found = await shared.source.lags(names.values())
            for database, name in names.items():
                if name not in found:
                    raise LostSlot(f"the slot {name} of the source is gone")
                self._clocks.setdefault(database, LagClock()).take(found[name], time.monotonic())
                self._take(replace(self._progress(database), step=Step.SYNCING, lag_bytes=found[name].behind))
        except SourceProblem as error:
            reason = error.message
            for database in names:
                self._take(replace(self._progress(database), lag_bytes=None))
        for database, clock in self._clocks.items():
            seconds = clock.seconds(time.monotonic())
            self._take(
                replace(self._progress(database), lag_seconds=None if seconds is None else round(seconds, 1))
            )
        for database, name in names.items():
            failures = await self._target.failures(name)
            if failures > before[database]:
                before[database] = failures
                reason = (
                    f"changes of database {database} cannot be applied, and are tried again; PostgreSQL's log"
                    " of the cluster says why"
                )
        await self._tell(reason=reason)

    async def _caught_up(self, shared: Copying, names: dict[str, str]) -> bool:
        """Wait for all that the source has now; False when the source does not answer."""
        try:
            position = await shared.source.position()
            while not all([await shared.source.confirmed(name, position) for name in names.values()]):
                await self._tell(reason="the changes that the source had when the end was asked for follow")
                await asyncio.sleep(_POLL_SECONDS / 2)
        except SourceProblem as error:
            await self._tell(reason=f"the migration waits for its end: {error.message}")
            return False
        await self._tell(reason="")
        return True

    # -- The end

    async def _clean_source(self) -> None:
        """Remove all that is ours from the source."""
        migration, target = self._migration, self._target
        source = Source(migration.source, self._sealer.open(migration.source.sealed_password))
        if migration.method is Method.DUMP:
            return  # nothing was written there
        try:
            self._marks = await target.marks()
        except CenoteError:
            if not self._is_deleted():  # its server may have ended by now
                raise
        names = {name: name_of(migration, name) for name in migration.databases}
        former = {name: identities(self._marks, name) for name in migration.databases}
        await source.clean(names, former, sync_slots(self._marks))

    async def _give_up(self, status: MigrationStatus, reason: str) -> None:
        """Undo it all, unless another node takes writes: its agent does it then.

        Here it must end.  When this node takes writes again, it would undo what another migration has copied.
        """
        leaving = asyncio.create_task(self._leave(status, reason), name="end of a migration")
        try:
            while not leaving.done() and not self._is_elsewhere():
                await asyncio.wait({leaving}, timeout=_POLL_SECONDS)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        if not leaving.cancelled():
            leaving.result()

    def _is_elsewhere(self) -> bool:
        stored = self._store.cluster(self._id)
        leader = None if stored is None else self._store.leader(stored.value)
        return leader not in (None, self._context.node.name)

    async def _leave(self, status: MigrationStatus, reason: str) -> None:
        """Leave the source clean, and the cluster without what was copied."""
        deadline, left = time.monotonic() + _CLEANING, ""
        pause = _RETRY_SECONDS
        while True:
            try:
                left = await self._removed()
                if not left:
                    break
            except _AGAIN as error:
                log.warning("cluster %s: giving a migration up: %s", self._context.in_words, error)
                left = left or str(error)
            if time.monotonic() > deadline or self._is_deleted():
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RETRY_MOST)
        if not self._is_deleted():
            await self._until_done(self._listed)
            await self._until_done(self._forget)
        if left:
            names = some([name_of(self._migration, one) for one in self._migration.databases])
            self._warn(
                f"The source could not be cleaned: {left}. Drop the replication slots and publications"
                f" {names} there, or it keeps WAL until its disk is full."
            )
        await self._end(status, reason)

    async def _removed(self) -> str:
        """Remove what was copied; return why the source could not be cleaned, "" if it was."""
        # Dropping a subscription drops the slots of its first copy on the source, which fails while one of
        # them waits for a transaction there.  So those go first.
        await self._of_subscribed(self._target.disable)
        left = ""
        try:
            await self._clean_source()
        except (SourceProblem, Misconfigured) as error:
            left = error.message
        await self._of_subscribed(self._target.unsubscribe)
        if self._is_deleted():
            return left
        marks = await self._target.marks()
        for name in self._migration.databases:
            if f"made {name}" in marks:
                await self._target.drop_database(name)
            elif f"taken {name}" in marks:
                await self._target.wipe(name)
        return left

    async def _of_subscribed(self, step: Callable[[str, str], Awaitable[None]]) -> None:
        """Do something with the subscription of each database that there is."""
        if self._is_deleted():
            return
        there = await self._target.databases()
        for name in self._migration.databases:
            if name in there:
                await step(name, name_of(self._migration, name))

    async def _forget(self) -> None:
        """Drop the roles that were made, and the marks."""
        await self._drop_roles(ROLE_MARK, STAND_IN_MARK)
        await self._target.end()

    async def _drop_roles(self, *kinds: str) -> None:
        for mark in sorted(await self._target.marks()):
            for kind in kinds:
                if mark.startswith(kind):
                    name = mark.removeprefix(kind)
                    try:
                        await self._target.drop_role(name)
                    except CenoteError as error:
                        self._warn(f"Role {name} stays: {error.message}.")

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Make a step that the server of the cluster alone can hinder."""
        while not self._is_deleted():
            try:
                await step()
            except _AGAIN as error:
                log.warning("cluster %s: online migration: %s", self._context.in_words, error)
            else:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    def _is_deleted(self) -> bool:
        stored = self._store.cluster(self._id)
        return stored is None or stored.value.deleted_at is not None

    async def _end(self, status: MigrationStatus, reason: str) -> None:
        log.info("cluster %s: online migration: %s %s", self._context.in_words, status, reason)
        while not self._is_deleted():
            try:
                await self._tell(status=status, reason=reason)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    # -- What is told

    def _progress(self, database: str) -> DatabaseProgress:
        return next(one for one in self._report.databases if one.name == database)

    def _take(self, progress: DatabaseProgress) -> None:
        others = {one.name: one for one in self._report.databases} | {progress.name: progress}
        self._report = replace(self._report, databases=tuple(others.values()))

    def _warn(self, words: str) -> None:
        """Add a warning to the report, which is one record, however many there are."""
        words = in_short(words, _MOST_CHARACTERS)
        if len(self._report.warnings) >= _MOST_WARNINGS:
            log.warning("cluster %s: online migration: %s", self._context.in_words, words)
            words = _MORE_WARNINGS
        if words not in self._report.warnings:
            self._report = replace(self._report, warnings=(*self._report.warnings, words))

    async def _tell(self, **changes: object) -> None:
        """Write the report if it says something new; numbers alone are not written each time."""
        self._report = replace(self._report, **changes)
        # It may have names of the source's.
        self._report = replace(self._report, reason=in_short(self._report.reason, _MOST_CHARACTERS))
        if self._report == self._written:
            return
        now = time.monotonic()
        if _words(self._report) == _words(self._written) and now - self._told_at < _TELL_SECONDS:
            return
        await self._store.migrated(self._id, self._context.node.name, self._report)
        self._written, self._told_at = self._report, now


def _words(report: MigrationReport) -> tuple[object, ...]:
    steps = tuple((one.name, one.step) for one in report.databases)
    return report.status, report.reason, report.warnings, steps
