"""Restores of the nodes of a host: makes their data from backups, or from a living server, beside the passes.

What goes wrong is told in words and tried again.  A node's data get their name when all of it is done, so
there is never a part of them to be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime
from uuid import UUID

from cenote.engine.plan.context import HostContext, NodeContext
from cenote.errors import CenoteError
from cenote.host import files, lineage_marks, restore_files, safe_open
from cenote.host.backup_program import BackupProgram
from cenote.host.executor import Executor
from cenote.host.restored_copy import (
    CopyPlace,
    RecoveryFailed,
    RestoredCopy,
    Source,
    check_tablespaces,
)
from cenote.model.records import Restoration
from cenote.model.restores import CopyMark, Restored, RestoreState
from cenote.model.topology import writer
from cenote.rules import recovery_log, restorable
from cenote.rules.backup_info import Archive, Info
from cenote.rules.recovery_log import Outcome
from cenote.store.encoding import NewerFormat
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

AT_ONCE = 2  # on a host
PROCESSES = 2  # of pgBackRest for one restore


class RestoreRunner:
    """Makes the restores of one host."""

    def __init__(self, store: HostStore, executor: Executor, context: HostContext) -> None:
        self._store, self._executor, self._context = store, executor, context
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Run until cancelled."""
        await asyncio.to_thread(self.clear_up)
        try:
            with self._store.changes() as changes:
                async for id in changes:
                    self._begin(id)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def clear_up(self) -> None:
        """Remove what a former process has left beside data that are complete."""
        for cluster in self._store.living_clusters():
            for node in cluster.nodes:
                paths = self._context.layout.node(cluster.id, node.name)
                is_here = node.host == self._store.host_id and files.mode_of(paths.data) is not None
                if is_here and files.mode_of(paths.restore_work) is not None:
                    with contextlib.suppress(OSError):  # it does no harm
                        files.remove(paths.restore_work)

    def _begin(self, id: UUID) -> None:
        task = self._tasks.get(id)
        if self._context_now(id) is not None and (task is None or task.done()):
            self._tasks[id] = asyncio.create_task(self._restore(id), name=f"restoring {id}")

    def _context_now(self, id: UUID) -> NodeContext | None:
        """Return the node of a cluster whose data are to be restored here, None if there is none."""
        with contextlib.suppress(NewerFormat):
            stored = self._store.cluster(id)
            if stored is None or stored.value.deleted_at is not None:
                return None
            cluster = stored.value
            for node in cluster.nodes:
                context = NodeContext(cluster, node, self._context)
                if node.host == self._store.host_id and context.is_restoring:
                    return None if files.mode_of(context.paths.data) is not None else context
        return None

    async def _restore(self, id: UUID) -> None:
        """Try until it is done, or not wanted any more."""
        pause, told = 0.0, ""
        while (context := self._context_now(id)) is not None:
            restoration = context.cluster.restoration
            assert restoration is not None
            restore = Restore(self._store, self._executor, context)
            try:
                async with self._turns:
                    await self._while_wanted(id, restoration, restore)
            except (CenoteError, OSError) as error:
                words = error.message if isinstance(error, CenoteError) else str(error.strerror or error)
            except Exception:
                log.exception("cluster %s: restore: a defect in Cenote", context.in_words)
                words = "an unexpected error; see Cenote's log"
            else:
                continue
            pause = min(max(2 * pause, self._context.timing.restore_retry_first), self._most_pause)
            if words != told:
                log.warning("cluster %s: not restored yet: %s", context.in_words, words)
            told = words
            with contextlib.suppress(OSError):
                restore.say(f"not restored yet: {words}")
            await asyncio.sleep(pause)

    @property
    def _most_pause(self) -> float:
        return self._context.timing.restore_retry_max

    async def _while_wanted(self, id: UUID, restoration: Restoration, restore: Restore) -> None:
        """Restore, unless the record ceases to ask for it meanwhile."""
        working = asyncio.create_task(restore.run(), name=f"restore of {id}")
        try:
            while not working.done():
                await asyncio.wait([working], timeout=self._context.timing.restore_poll_interval)
                context = self._context_now(id)
                is_wanted = context is not None and context.cluster.restoration == restoration
                if not is_wanted and not restore.is_done:
                    return
            await working
        finally:
            working.cancel()
            await asyncio.wait([working])


class Restore:
    """One attempt at the restore of a node's data."""

    def __init__(self, store: HostStore, executor: Executor, context: NodeContext) -> None:
        self._store, self._context = store, context
        self._executor = executor
        self._said = ""
        self.is_done = False  # all but the name of the data; what follows is not to be broken off
        restoration = context.cluster.restoration
        assert restoration is not None
        self._restoration = restoration

    def say(self, words: str) -> None:
        """Have the node's report say how far it is."""
        if words != self._said and files.mode_of(self._context.cluster_paths.root) is not None:
            self._said = words
            self._write(RestoreState(asked_at=self._restoration.asked_at, reason=words))

    def _write(self, state: RestoreState) -> None:
        restore_files.write_state(self._context.paths.restore_state, state)

    async def run(self) -> None:
        context, restoration, paths = self._context, self._restoration, self._context.paths
        if files.mode_of(context.cluster_paths.sockets) is None:
            raise CenoteError("its folders are not made yet")  # by a pass, which a deletion ends
        copy = self._copy()
        await copy.end_processes()
        mark = copy.mark
        if mark is None or mark.asked_at != restoration.asked_at:
            await copy.clear()
            await asyncio.to_thread(copy.prepare)
            await self._take_archive(copy)
            mark = await self._make(copy)
        else:
            await asyncio.to_thread(copy.prepare)
        version = context.cluster.version
        if copy.version() != version:
            raise CenoteError(f"the data are of PostgreSQL {copy.version()}, and the cluster is of {version}")
        try:
            if not copy.is_recovered():
                await self._recover(copy, mark)
        finally:
            await copy.stop()
        if not copy.is_recovered():
            raise CenoteError("the server has not ended in order after the recovery")
        said = await asyncio.to_thread(copy.log)
        self.is_done = True
        self.say("the data are restored")
        await asyncio.to_thread(lambda: copy.finish(fork=restoration.fork))
        restored = Restored(
            asked_at=restoration.asked_at,
            target=restoration.target,
            transaction_at=recovery_log.transaction_at(said),
            label=mark.label,
        )
        self._write(RestoreState(asked_at=restoration.asked_at, restored=restored))
        safe_open.rename_new(paths.draft, paths.data)
        files.sync_directory(paths.data.parent)
        await asyncio.to_thread(copy.remove_work)
        log.info("cluster %s: its data are restored: %r", context.in_words, restored)

    async def _take_archive(self, copy: RestoredCopy) -> None:
        """Have the former server of a cluster that is recovered archive no more, wherever it is.

        Before the end of the archive is looked for: what comes into it at this moment is after that, or a
        part of it.
        """
        plan, kept = self._context.cluster.backups, self._context.host.backups
        if self._restoration.fork or plan is None or not plan.lineage:
            return
        if kept is None or kept.program is None:
            raise CenoteError("this host keeps no backups, so it cannot read any: start it with --backups")
        program, place = BackupProgram(kept.program, self._executor.account), copy.place
        stanza = str(self._restoration.source)
        await lineage_marks.leave(program, place.configuration, place.state, stanza, plan.lineage)

    def _copy(self) -> RestoredCopy:
        context, host = self._context, self._context.host
        paths = context.paths
        place = CopyPlace(paths.draft, paths.restore_work, context.cluster_paths.recovery_sockets)
        source = None if self._restoration.live else self._source()
        accounts = host.service_user, host.server_user
        return RestoredCopy(
            place, self._executor, context.server_binaries, accounts, source, processes=PROCESSES
        )

    def _source(self) -> Source:
        kept, restoration = self._context.host.backups, self._restoration
        if kept is None:
            raise CenoteError("this host keeps no backups, so it cannot read any: start it with --backups")
        hindrance = kept.hindrance(self._context.cluster.version)
        if hindrance:
            raise CenoteError(hindrance)
        return Source(str(restoration.source), kept.open(restoration.sealed_passphrase), kept)

    async def _make(self, copy: RestoredCopy) -> CopyMark:
        restoration, interval = self._restoration, self._interval
        if restoration.live:
            return await self._copy_server(copy)
        info = await copy.info()
        if not info.is_made:
            raise CenoteError(f"the repository has no backups of {restoration.source}")
        try:
            backup = restorable.choose(info.backups, restoration.target)
        except ValueError as error:
            raise CenoteError(str(error)) from None
        copy.check_room(backup.size)
        self._check_source()
        self.say(f"restoring the backup {backup.label}")
        return await copy.copy_backup(backup, restoration.asked_at, self.say, interval)

    def _check_source(self) -> None:
        """Refuse a source whose tablespaces are on this host: replayed WAL could work in them."""
        for node in self._context.host.layout.cluster(self._restoration.source).nodes():
            check_tablespaces(node.data)

    async def _copy_server(self, copy: RestoredCopy) -> CopyMark:
        restoration, host = self._restoration, self._context.host
        stored = self._store.cluster(restoration.source)
        node = None if stored is None else writer(stored.value, self._store.leader(stored.value))
        if stored is None or stored.value.deleted_at is not None or node is None:
            raise CenoteError("the cluster that it is a copy of is not there any more")
        if node.host != self._store.host_id:
            raise CenoteError("the cluster that it is a copy of is on another host now")
        seen = self._store.status(restoration.source, node.name)
        copy.check_room(0 if seen is None else seen.used_mib * 1024**2)
        self.say("copying the data of the source")
        source = NodeContext(stored.value, node, host)
        sockets = source.cluster_paths.sockets
        return await copy.copy_server(
            sockets, node.port, source.paths.data, restoration.asked_at, self.say, self._interval
        )

    @property
    def _interval(self) -> float:
        return self._context.host.timing.restore_poll_interval

    async def _recover(self, copy: RestoredCopy, mark: CopyMark) -> None:
        restoration, target = self._restoration, self._restoration.target
        if restoration.live:
            await copy.recover(None, self.say, self._interval)
            return
        newest = newest_wal(await copy.info(), mark)
        self.say("replaying WAL")
        try:
            await copy.recover(target, self.say, self._interval, newest)
        except RecoveryFailed as error:
            if error.failure.outcome in (Outcome.FAILED, Outcome.KILLED):
                await copy.clear()  # it may be the copy that is damaged
            if error.failure.outcome is not Outcome.ENDED_BEFORE or target is None:
                raise
            await self._recover_to_end(copy, target, mark)
            return
        self._check_whole(copy, newest)

    async def _recover_to_end(self, copy: RestoredCopy, target: datetime, mark: CopyMark) -> None:
        """Replay all there is, if the archive is known to reach the moment that nothing in it comes after."""
        info = await copy.info()
        said = await asyncio.to_thread(copy.log)
        newest = newest_wal(info, mark)
        missing = restorable.missing_after(recovery_log.last_segment(said), newest)
        if missing:
            raise CenoteError(missing)
        if not restorable.proves(info.backups, target):
            raise CenoteError(self._unproven(target, recovery_log.transaction_at(said)))
        await copy.recover(None, self.say, self._interval, newest)

    def _unproven(self, target: datetime, last: datetime | None) -> str:
        stored = self._store.cluster(self._restoration.source)
        moment = restorable.in_words(target)
        if stored is not None and stored.value.deleted_at is None:
            return f"the archive does not reach {moment} yet; the source's server archives what is missing"
        words = f"nothing in the archive shows that it reaches {moment}"
        if last is not None:
            words += f"; its last transaction is of {restorable.in_words(last)}"
        return f"{words}. Ask for the end of the archive instead"

    def _check_whole(self, copy: RestoredCopy, newest: str) -> None:
        """Refuse what ended at a gap in the archive, where the end of it was asked for."""
        if self._restoration.target is not None:
            return
        missing = restorable.missing_after(recovery_log.last_segment(copy.log()), newest)
        if missing:
            files.remove(copy.place.mark)  # it has gone on from there, so it is of no use any more
            raise CenoteError(missing)


def newest_wal(info: Info, mark: CopyMark) -> str:
    """Return the newest segment that can follow a backup, be it that the backup has expired meanwhile."""
    newest = max((archive.newest for archive in info.archives.values()), default="")
    return info.archives.get(mark.label, Archive(newest=newest)).newest
