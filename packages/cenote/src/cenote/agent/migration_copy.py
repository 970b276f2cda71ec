"""The databases of an online migration, one after the other: definitions, rows, indexes, and the end of each.

Each step is noted on the server of the cluster once it is done, and is made anew by whoever finds it undone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import psycopg

from cenote.agent.migration_roles import ROLE_MARK, STAND_IN_MARK, Roles, lasting
from cenote.agent.migration_target import MigrationTarget
from cenote.errors import CenoteError
from cenote.host import files, migration_programs
from cenote.host.executor import Executor
from cenote.host.migration_programs import ProgramFailed
from cenote.host.migration_source import Source
from cenote.host.source_answers import STRANGE_ANSWER, SourceProblem, in_short
from cenote.host.source_relay import DEFINITIONS_BYTES, Allowance
from cenote.importing import archive_list, phases, role_plan, selection
from cenote.importing import source as importing
from cenote.importing.archive_list import Entry
from cenote.importing.facts import Source as Seen
from cenote.importing.phases import Phases
from cenote.importing.role_plan import RolePlan
from cenote.importing.selection import Selection
from cenote.model.changes import MakeDirectory, Remove
from cenote.model.migrations import DatabaseProgress, Method, OnlineMigration, Step
from cenote.model.records import ADMIN_USER
from cenote.rules import migration_checks
from cenote.rules.migration_checks import SourceDatabase, SourceTable, some

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_SLOT_SECONDS = 5.0  # between looks at a slot during the first copy
_SYNC_MARK = "sync slots "  # before a pattern of their names
_SHOWN = 20  # warnings of one kind
_PLAIN = ("--no-password", "--no-tablespaces", "--no-security-labels", "--no-subscriptions")


class MigrationFailed(CenoteError):
    """The migration cannot be brought to its end, whatever is tried again."""


class MigrationTrouble(CenoteError):
    """What may be over when it is tried again."""


@dataclass(slots=True)
class Copying:
    """What the copy of all databases shares; ``tell`` takes the progress of one."""

    migration: OnlineMigration
    source: Source
    target: MigrationTarget
    executor: Executor
    folder: Path
    tell: Callable[[DatabaseProgress], None]
    warn: Callable[[str], None]
    marks: set[str] = field(default_factory=set)

    def name(self, database: str) -> str:
        """Return the name of the publication, the slot and the subscription of a database."""
        return name_of(self.migration, database)

    async def note(self, mark: str) -> None:
        await self.target.note(mark)
        self.marks.add(mark)


def name_of(migration: OnlineMigration, database: str) -> str:
    return f"online_migration_{migration.id.hex[:12]}_{migration.databases.index(database)}"


def identities(marks: Iterable[str], database: str) -> list[tuple[str, str, str]]:
    """Return the tables that got another replica identity, with the former one."""
    prefix = f"identity {database} "
    return [
        (str(schema), str(table), str(former))
        for mark in marks
        if mark.startswith(prefix)
        for schema, table, former in [json.loads(mark.removeprefix(prefix))]
    ]


def sync_slots(marks: Iterable[str]) -> list[str]:
    """Return patterns of the slots that the first copies of tables have made on the source."""
    return [mark.removeprefix(_SYNC_MARK) for mark in marks if mark.startswith(_SYNC_MARK)]


class DatabaseCopy:
    """The copy of one database."""

    def __init__(self, shared: Copying, progress: DatabaseProgress) -> None:
        self._shared, self._name, self._progress = shared, progress.name, progress
        self._target, self._source = shared.target, shared.source

    def _tell(self, **changes: object) -> None:
        self._progress = msgspec.structs.replace(self._progress, **changes)
        self._shared.tell(self._progress)

    def _is_done(self, step: str) -> bool:
        return f"{step} {self._name}" in self._shared.marks

    async def _note(self, step: str) -> None:
        await self._shared.note(f"{step} {self._name}")

    # -- Until changes follow

    async def begin(self) -> None:
        """Copy what there is, so that changes follow, or, by a dump, so that only the end is missing."""
        if self._is_done("indexes"):
            return
        found = await self._look()
        self._tell(bytes=found.bytes, tables=len(found.tables), step=Step.SCHEMA)
        by_dump = self._shared.migration.method is Method.DUMP
        if not self._is_done("schema"):
            await self._define(with_rows=by_dump)
            await self._note("schema")
        if not by_dump:
            await self._follow(found)
        self._tell(step=Step.INDEXES, copied=self._progress.tables)
        await self._add_indexes()
        await self._note("indexes")
        self._tell(step=Step.SYNCING, copied_bytes=await self._target.size(self._name))

    async def _look(self) -> SourceDatabase:
        found = await self._source.look(only=[self._name])
        if not found.databases or not found.databases[0].open:
            raise MigrationFailed(f"the source has no database {self._name} any more")
        return found.databases[0]

    async def _define(self, *, with_rows: bool) -> None:
        """Create the database with its definitions, without what an attempt before has left."""
        if not self._is_done("taken"):
            there = self._name in await self._target.databases()
            if there and (contents := await self._target.contents(self._name)):
                raise MigrationFailed(
                    f"database {self._name} of the cluster is not empty any more: it has {some(contents)}"
                )
            if not there:
                await self._note("made")
            await self._note("taken")
        await self._target.take(self._name)
        await self._target.wipe(self._name)
        await self._target.take(self._name)
        dump = await self._dump()
        if dump.chosen.lost_tables:
            lost = "; ".join(f"{one.name} ({one.reason})" for one in dump.chosen.lost_tables[:5])
            raise MigrationFailed(f"tables of database {self._name} cannot be created here: {lost}")
        for one in dump.chosen.left_out[:_SHOWN]:
            self._shared.warn(
                f"Left out of database {self._name}: {one.kind.lower()} {one.name}, {one.reason}."
            )
        kept = {one.oid for one in dump.entries if one.kind == "EXTENSION"}
        await self._target.add_extensions(
            self._name, [one for (_, oid), one in dump.seen.extensions.items() if oid in kept]
        )
        parts = await self._phases(dump)
        await self._restore(dump.file, parts.definitions)
        if with_rows:
            self._tell(step=Step.COPYING)
            await self._copy_rows()
        await self._restore(dump.file, parts.keys)

    async def _copy_rows(self) -> None:
        """Copy all rows, as of one moment: all or nothing."""
        await self._pipe((*self._dumping(), "--section=data", "--no-blobs"))

    async def _follow(self, found: SourceDatabase) -> None:
        """Have the server copy the rows of tables and apply the changes; return when all rows are there.

        LostSlot once the slot is gone: the server tries to connect to it forever, and counts no error.
        """
        shared, name = self._shared, self._shared.name(self._name)
        full = shared.migration.full_identity
        published = migration_checks.published(found, full_identity=full)
        if not await self._target.is_subscribed(name):
            to_change = [one for one in published if not one.keyed]
            for one in to_change:
                await shared.note(f"identity {self._name} {json.dumps([one.schema, one.name, one.identity])}")
            await self._source.publish(self._name, name, published, to_change)
            await self._target.subscribe(self._name, name, self._source.conninfo(self._name))
        if strangers := await self._target.strangers(self._name, name):
            raise MigrationFailed(f"the source publishes {some(strangers)}, which did not come from it")
        # A customer's own subscriptions of the same source have such slots, too.
        await shared.note(_SYNC_MARK + await self._target.sync_slots(name))
        await self._target.enable(self._name, name)
        self._tell(step=Step.COPYING, tables=len(published))
        failed_before = await self._target.failures(name)
        looked_at = -math.inf
        while True:
            if time.monotonic() - looked_at > _SLOT_SECONDS:
                await self._source.check_slot(name)
                looked_at = time.monotonic()
            every, ready = await self._target.copied(self._name, name)
            self._tell(tables=every, copied=ready, copied_bytes=await self._target.size(self._name))
            if ready == every:
                return
            failed = await self._target.failures(name)
            if failed > failed_before:
                raise MigrationTrouble(
                    f"rows of database {self._name} cannot be copied; the cluster's log says why"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _add_indexes(self) -> None:
        dump = await self._dump()
        wanted = (await self._phases(dump)).indexes
        names = await self._source.index_names(self._name)
        there = await self._target.relations(self._name)
        missing = [one for one in wanted if names.get((one.class_id, one.oid)) not in there]
        # An attachment of indexes is repeated without harm, so it has no name here.
        await self._restore(dump.file, missing)

    # -- The end

    async def part(self) -> None:
        """End the subscription; those of all databases have to, before the role gives its objects away."""
        await self._target.unsubscribe(self._name, self._shared.name(self._name))

    async def finish(self, roles: Roles) -> None:
        """Bring a database to its end: what does not follow, sequences, triggers, owners, grants."""
        if self._is_done("finished"):
            self._tell(step=Step.DONE, lag_bytes=None, lag_seconds=None)
            return
        self._tell(step=Step.FINISHING, lag_bytes=None, lag_seconds=None)
        dump = await self._dump()
        found = await self._look()
        by_dump = self._shared.migration.method is Method.DUMP
        if not self._is_done("late"):
            await self._copy_late(found, with_tables=not by_dump)
            await self._note("late")
        await self._target.set_sequences(self._name, await self._source.sequences(self._name))
        await roles.make(dump.seen, dump.plan, (await self._target.seen(self._name)).roles)
        parts = await self._phases(dump)
        for problem in await self._target.refresh(self._name, await self._source.materialized(self._name)):
            self._shared.warn(f"In database {self._name}, {problem}.")
        if not self._is_done("after") and not await self._target.is_after(self._name):
            await self._restore(dump.file, parts.after)
        await self._note("after")
        await self._target.analyze(self._name)
        stay = lasting(dump.plan)
        owners = await self._source.owners(self._name)
        await self._target.hand_over(self._name, owners, stay, dump.seen.owner)
        await self._grant(dump, parts)
        for name in dump.plan.stand_ins:
            await self._target.drop_stand_in(self._name, name)
        await roles.configure(dump.seen, self._name, stay)
        await self._note("finished")
        self._tell(step=Step.DONE, copied=self._progress.tables)

    async def _copy_late(self, found: SourceDatabase, *, with_tables: bool) -> None:
        """Copy tables whose changes do not follow, and large objects."""
        followed = {(schema, table) for schema, table, _ in identities(self._shared.marks, self._name)}
        late = [
            one
            for one in migration_checks.copied_late(found, full_identity=False)
            if with_tables and (one.schema, one.name) not in followed
        ]
        there = await self._target.relations(self._name)
        self._warn_of_new(found, there)
        late = [one for one in late if (one.schema, one.name) in there]
        await self._target.empty(self._name, [(one.schema, one.name) for one in late])
        if late:
            tables = [f"--table={_pattern(one)}" for one in late]
            await self._pipe((*self._dumping(), "--section=data", *tables))
        if found.large_objects:
            file = self._shared.folder / "large_objects.dump"
            wanted = ("--blobs", "--exclude-table-data=*.*", f"--file={file}")
            await self._run((*self._dumping(), *wanted), of_source=True)
            listed = await self._entries(file)
            await self._restore(file, phases.large_objects(listed))

    def _warn_of_new(self, found: SourceDatabase, there: set[tuple[str, str]]) -> None:
        new = [str(one) for one in found.tables if (one.schema, one.name) not in there]
        if new:
            self._shared.warn(
                f"Tables that were created on the source meanwhile did not come along: {some(new)} of"
                f" database {self._name}."
            )

    async def _grant(self, dump: _Dump, parts: Phases) -> None:
        """Restore grants one by one: some are refused, as those that a superuser has made.

        What belongs to no lasting role, such as the administrator of a hosted service, is the cluster
        administrator's by now, so the role that restores acts for it as long as that takes.
        """
        try:
            await self._target.borrow(ADMIN_USER)
            await self._restore(dump.file, parts.grants, atomic=False)
        except ProgramFailed as error:
            self._shared.warn(f"Some grants in database {self._name} are left out: {error.message}")
        finally:
            await self._target.give_back(ADMIN_USER)

    # -- Programs

    async def _dump(self) -> _Dump:
        """Dump the definitions, and choose what the cluster can have."""
        file = self._shared.folder / "schema.dump"
        await self._dump_definitions(file)
        entries = await self._entries(file)
        seen = await self._seen()
        there = await self._target.seen(self._name)
        # Roles that were made on the way are still those of the source.
        roles = there.roles - _made(await self._target.marks())
        plan = role_plan.plan(seen, replace(there, roles=roles), create=True)
        chosen = selection.select(entries, seen, there, plan, owners=True)
        wanted = {one.dump_id for one in (*chosen.schemas, *chosen.others)}
        # In the order of the dump, and with comments, which the choice keeps apart.
        kept = tuple(one for one in entries if one.dump_id in wanted)
        return _Dump(file, seen, plan, chosen, kept)

    async def _dump_definitions(self, file: Path) -> None:
        async with self._source.relayed(Allowance(DEFINITIONS_BYTES)) as relay:
            variables = self._source.environment(self._name, relay)
            argv = (*self._dumping(), "--schema-only", f"--file={file}")
            await self._started(argv, variables)

    async def _seen(self) -> Seen:
        async with self._source.relayed() as relay:
            return await asyncio.to_thread(_seen, self._source.conninfo(self._name, relay))

    async def _entries(self, file: Path) -> list[Entry]:
        listed, _ = await self._run((*self._program("pg_restore"), "--list", "--verbose", str(file)))
        return archive_list.parse(listed)

    async def _phases(self, dump: _Dump) -> Phases:
        present = await self._target.schemas(self._name)
        schemas = {
            one.dump_id
            for one in dump.entries
            if one.kind == "SCHEMA" and dump.seen.schemas.get((one.class_id, one.oid)) in present
        }
        keys = await self._source.keys(self._name)
        return phases.split(dump.entries, keys, schemas=schemas, ours=self._shared.name(self._name))

    async def _restore(self, file: Path, entries: Iterable[Entry], *, atomic: bool = True) -> None:
        """Restore entries, all or nothing unless ``atomic`` is off, as the role without rights."""
        listed = list(entries)
        if not listed:
            return
        chosen = self._shared.folder / "restore.list"
        text = archive_list.render(listed).encode()
        await asyncio.to_thread(
            files.write, chosen, text, 0o600, self._shared.executor.account.owner, durable=False
        )
        arguments = [f"--dbname={self._name}", "--no-owner", f"--use-list={chosen}", *_RESTORING]
        await self._run(
            (*self._program("pg_restore"), *arguments, *(_ATOMIC if atomic else ()), str(file)),
            to_target=True,
        )

    async def _pipe(self, dumping: tuple[str, ...]) -> None:
        arguments = (f"--dbname={self._name}", "--no-owner", *_RESTORING, *_ATOMIC, "--section=data")
        await migration_programs.piped(
            dumping,
            (*self._program("pg_restore"), *arguments),
            self._shared.folder,
            self._shared.executor.account,
            (self._source.environment(self._name), self._target.environment(self._name)),
        )

    def _dumping(self) -> tuple[str, ...]:
        return (*self._program("pg_dump"), "--format=custom", *_PLAIN)

    def _program(self, name: str) -> tuple[str, ...]:
        return (str(self._target.context.server_binaries / name),)

    async def _run(
        self, argv: tuple[str, ...], *, of_source: bool = False, to_target: bool = False
    ) -> tuple[str, str]:
        variables: dict[str, str] = {}
        if of_source:
            variables = self._source.environment(self._name)
        if to_target:
            variables = self._target.environment(self._name)
        return await self._started(argv, variables)

    async def _started(self, argv: tuple[str, ...], variables: dict[str, str]) -> tuple[str, str]:
        shared = self._shared
        return await migration_programs.run(argv, shared.folder, shared.executor.account, variables)


_ATOMIC = ("--single-transaction",)
_RESTORING = ("--no-password", "--no-tablespaces", "--no-security-labels")


@dataclass(frozen=True, slots=True)
class _Dump:
    """The definitions of a database in a file, and those of its entries that the cluster can have."""

    file: Path
    seen: Seen
    plan: RolePlan
    chosen: Selection
    entries: tuple[Entry, ...]


def _seen(conninfo: str) -> Seen:
    try:
        with closing(importing.connect(conninfo)) as connection:
            return importing.look(connection)
    except psycopg.Error as error:
        raise SourceProblem(f"the source cannot be read: {in_short(str(error))}") from None
    except (ValueError, TypeError, LookupError, AssertionError) as error:
        log.warning("a source answers with what PostgreSQL does not", exc_info=error)
        raise SourceProblem(STRANGE_ANSWER) from None


def _made(marks: Iterable[str]) -> set[str]:
    kinds = (ROLE_MARK, STAND_IN_MARK)
    return {mark.removeprefix(kind) for mark in marks for kind in kinds if mark.startswith(kind)}


def _pattern(table: SourceTable) -> str:
    """Return the name of a table as pg_dump takes it literally."""
    schema, name = (text.replace('"', '""') for text in (table.schema, table.name))
    return f'"{schema}"."{name}"'


async def make_folder(executor: Executor, target: MigrationTarget, folder: Path) -> None:
    """Have an empty folder of the servers' account for dumps."""
    await executor.do(Remove(folder), target.session)
    owner = target.context.host.server_ids
    await executor.do(MakeDirectory(folder, 0o700, owner), target.session)
