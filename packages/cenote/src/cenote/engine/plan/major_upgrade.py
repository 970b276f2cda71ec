"""The upgrade of a server to another major version, by ``pg_upgrade`` and beside its data.

What can be done before the server stops is done before: the new data directory, and the check.  Then pools
are held, the server is stopped, and pg_upgrade copies or clones its data, which stay as they are.  The two
directories exchange their names at once, when the new data have all that the former ones had.  So whatever
fails or dies before that leaves the former data, and their server is started again; after it the new one is,
and the former data come back only if it was never able to start.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace
from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.conf import hba
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import postgresql, system_objects
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.folders import CLOSED
from cenote.model import topology
from cenote.model.changes import (
    Change,
    EndProcesses,
    Exchange,
    HoldPools,
    MakeDirectory,
    MakeEmptyData,
    Plan,
    Program,
    Refuse,
    Remove,
    Sql,
    SqlAlone,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.event_records import EventType, Note
from cenote.model.paths import PG_UPGRADE, VACUUMDB
from cenote.model.pauses import LEASE, MOVE, Moment, Pause
from cenote.model.records import MajorUpgrade, UpgradeStep
from cenote.model.status_records import UpgradeReport
from cenote.model.upgrade_state import IndexCollation, UpgradeStage, UpgradeState

PATIENCE = 10.0  # seconds in which pooled transactions have to end; the others end with the server
MOST_TRIES = 3  # of an upgrade that is interrupted, and of the new server's start
TEMPLATES = ("template0", "template1")
COMPATIBLE, COMPLETE = "*Clusters are compatible*", "Upgrade Complete"  # as pg_upgrade says it
FAILED = "Failure, exiting"
_MARKS = ("fatal", "*failure*")  # at the end of the line that says what was done
_NAMED_FILE = re.compile(r"(?:in the file:?|of)\s+\"?(/\S+?\.(?:txt|log))\b")
_LONGEST = 1000  # characters of a reason
_CHECKPOINT = (SQL("SET statement_timeout = 0"), SQL("CHECKPOINT"), SQL("RESET statement_timeout"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the former server has: databases, the ledger, and the version of our extension, "" without it;
    and the collations by which indexes sort."""

    databases: tuple[str, ...] = ()
    ledger: tuple[tuple[str, str], ...] = ()
    statements: str = ""
    collations: tuple[IndexCollation, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """``version``: that of the data, "" without any.

    ``running``: a server works on them; ``ready``: it takes connections, and ``ours``: we have started it,
    and not pg_upgrade.

    ``program``: a program of the upgrade works, and ``output`` is what it, or the last one, has said.
    ``ended_at`` is where the WAL of the data ends after a clean shutdown, 0 without one.  ``hindrances`` are
    looked for before an upgrade.  ``outdated`` are the extensions of each database that have a newer version.
    ``left``: files of an upgrade are there; ``checked``: the folders of a check whose process was killed.
    ``template_open``: template1 takes connections.  ``system`` is the system identifier of the data.  Of
    ``collations`` are those by which indexes of the new server sort, with the versions of its libraries.  Of
    several nodes no ``pools`` are seen, since those of all hosts are held by ``routing.py``.
    """

    version: str
    at: Moment
    state: UpgradeState | None = None
    running: bool = False
    ready: bool = False
    ours: bool = True
    program: bool = False
    output: str = ""
    ended_at: int = 0
    pools: tuple[str, ...] = ()
    sessions: frozenset[str] = frozenset()
    held: bool = False
    pause: Pause | None = None
    hindrances: tuple[str, ...] = ()
    facts: Facts = field(default=Facts(), repr=False)
    outdated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left: bool = False
    checked: tuple[Path, ...] = ()
    template_open: bool = False
    clones: bool = False
    log: str = ""
    system: str = ""
    collations: tuple[IndexCollation, ...] = ()


def state_of(context: NodeContext, seen: Seen) -> UpgradeState | None:
    """Return the state of the upgrade that the record asks for, None if it was not begun."""
    mark, state = context.cluster.major_upgrade, seen.state
    return state if mark is not None and state is not None and state.asked_at == mark.asked_at else None


def plan(context: NodeContext, seen: Seen) -> Plan:
    mark, state = context.cluster.major_upgrade, state_of(context, seen)
    if mark is None or _is_refused_of_several(mark, state):
        yield from _clean_up(context, seen)
    elif not is_upgraded_here(context) or mark.step in (UpgradeStep.RELEASING, UpgradeStep.RESTING):
        return  # another node is, or this one soon
    elif not seen.version:
        return  # the part PostgreSQL says that the data are missing
    elif seen.version == context.cluster.version:
        if state is not None:
            yield from _take_over(context, seen, state)
    elif state is None or state.stage is UpgradeStage.AGAIN:
        yield from _begin(context, seen, state)
    elif state.stage is UpgradeStage.REFUSED:
        if seen.ready and seen.template_open:
            yield _close_template()
    elif state.stage is UpgradeStage.CHECKING:
        yield from _check(context, seen, state)
    else:
        yield from _upgrade(context, seen, state)


def is_upgraded_here(context: NodeContext) -> bool:
    """Return whether it is this node's data that the record wants to be upgraded, if any are."""
    mark = context.cluster.major_upgrade
    return mark is None or mark.node in ("", context.node.name)


def is_stop_due(context: NodeContext) -> bool:
    """Return whether the server may be stopped; before, the poolers of several nodes hold their pools."""
    mark = context.cluster.major_upgrade
    return mark is not None and mark.step is UpgradeStep.UPGRADING


def is_checked(seen: Seen, state: UpgradeState | None) -> bool:
    """Return whether the check is over and nothing is in the way."""
    if state is None or state.stage is not UpgradeStage.CHECKING or seen.program:
        return False
    return COMPATIBLE in seen.output and seen.ready


def _is_refused_of_several(mark: MajorUpgrade, state: UpgradeState | None) -> bool:
    """Return whether the nodes of a cluster come together again after an upgrade that was not made."""
    is_over = mark.step is UpgradeStep.REJOINING and state is not None
    return is_over and state is not None and state.stage is UpgradeStage.REFUSED


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    mark, state = context.cluster.major_upgrade, state_of(context, seen)
    found: dict[str, object] = {"data_version": seen.version}
    if mark is not None:
        is_done = seen.version == context.cluster.version
        is_done &= state is None or state.stage is UpgradeStage.DONE
        found["major_upgrade"] = UpgradeReport(
            asked_at=mark.asked_at,
            refused="" if state is None else state.refused,
            done=is_done,
            held_ms=0 if state is None else state.held_ms,
            stage="" if state is None else state.stage,
            checked=is_checked(seen, state),
            system=seen.system,
            to_reindex=() if state is None else tuple(map(_anew_in_words, state.sorts_anew)),
        )
    return found


def _anew_in_words(one: IndexCollation) -> str:
    return f"{one.name} of database {one.database} (was {one.version})"


def event_of(change: Change) -> Note | None:
    if isinstance(change, Start) and change.digest == COMPLETE:
        return Note(what="stopped PostgreSQL, for an upgrade", type=EventType.CLUSTER_MAINTENANCE_PERFORM)
    return None


def check_program(context: NodeContext, version: str, data: Path | None = None) -> Program:
    """Return pg_upgrade, which looks at the server while that works, with the new data directory."""
    return _program(context, version, "--check", data=data)


def empty_data(
    context: NodeContext, version: str, statements: str, data: Path | None = None
) -> MakeEmptyData:
    """Return the making of the data directory that pg_upgrade fills."""
    return MakeEmptyData(
        version,
        data or context.paths.other_data,
        system_objects.for_upgraded_data(statements),
        tuple(_files(context, version, archives=False).items()),
    )


def _begin(context: NodeContext, seen: Seen, former: UpgradeState | None) -> Plan:
    mark, version = context.cluster.major_upgrade, context.cluster.version
    if not seen.ready or mark is None:
        return  # the part PostgreSQL starts it
    tries = 0 if former is None else former.tries
    state = UpgradeState(asked_at=mark.asked_at, version=version, stage=UpgradeStage.CHECKING, tries=tries)
    if seen.hindrances:
        yield from _refuse(context, seen, state, "; ".join(seen.hindrances))
        return
    yield _note(context, state)
    yield from _remove(context)
    yield MakeDirectory(context.paths.upgrade_folder, CLOSED, context.host.server_ids)
    yield empty_data(context, version, seen.facts.statements)
    yield Sql(SUPERUSER, "opening database template1", (SQL(system_objects.OPEN_TEMPLATE),))
    yield Start(check_program(context, version), COMPATIBLE)
    yield Wait(_checking(context))


def _check(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    if seen.program:
        yield Wait(_checking(context))
    elif is_checked(seen, state):
        if topology.upgraded_alone(context.cluster) and not is_stop_due(context):
            yield Wait("the pools of all its hosts are about to be held", often=True)
        yield from _stop(context, seen, state)
    elif FAILED in seen.output:
        yield from _refuse(context, seen, state, reason_of(seen.output))
    else:
        yield from _again(context, seen, state)


def _stop(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    facts, at = seen.facts, seen.at
    state = replace(
        state,
        stage=UpgradeStage.RUNNING,
        boot=at.boot,
        ledger=facts.ledger,
        databases=facts.databases,
        has_statements=bool(facts.statements),
        collations=facts.collations,
    )
    yield Sql(SUPERUSER, "writing a checkpoint", _CHECKPOINT, atomic=False)
    pools = tuple(name for name in seen.pools if name not in seen.sessions)
    if pools:
        yield HoldPools(context.bouncer, _why(context), pools, PATIENCE, anyway=True)
    program = _program(context, state.version, "--clone" if seen.clones else "--copy")
    yield Remove(program.log)
    yield _note(context, replace(state, stopped_at=at.seconds))
    yield Stop(context.server)
    if seen.pools:
        yield HoldPools(context.bouncer, _why(context), seen.pools, anyway=True)
    yield Start(program, COMPLETE)
    yield Wait(_upgrading(context), often=True)


def _upgrade(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    if seen.program:
        if seen.pools and not _is_held(seen):
            yield HoldPools(context.bouncer, _why(context), seen.pools, anyway=True)
        yield Wait(_upgrading(context, seen.output), often=True)
    elif state.stage is UpgradeStage.RUNNING and COMPLETE in seen.output and not seen.running:
        yield from _finish(context, state)
    elif state.stage is UpgradeStage.RUNNING and FAILED in seen.output:
        yield from _refuse(context, seen, state, reason_of(seen.output))
    else:
        yield from _again(context, seen, state)


def _finish(context: NodeContext, state: UpgradeState) -> Plan:
    """Give the new data what pg_upgrade leaves out, and put them in the place of the former ones."""
    paths, version = context.paths, state.version
    yield _note(context, replace(state, stage=UpgradeStage.FINISHING))
    each = system_objects.in_upgraded_database(has_statements=state.has_statements)
    for name in (*TEMPLATES, *state.databases):
        if name != SUPERUSER:
            yield SqlAlone(version, paths.other_data, name, "finishing an upgraded database", each)
    administered = system_objects.ADMINISTERED_SINCE
    last = system_objects.in_upgraded_postgres(
        state.ledger,
        has_statements=state.has_statements,
        administers=int(context.version) < administered <= int(version),
    )
    yield SqlAlone(version, paths.other_data, SUPERUSER, "finishing the upgraded server", last)
    for name, content in _files(context, version).items():
        yield WriteFile(paths.other_data / name, content, durable=True)
    yield _note(context, replace(state, stage=UpgradeStage.STARTING))
    yield Exchange(paths.data, paths.other_data)
    yield Wait(f"PostgreSQL {version} is starting", often=True)


def _take_over(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    if state.stage is UpgradeStage.STATISTICS:
        if not seen.program:
            yield from _remove(context)
            yield _note(context, replace(state, stage=UpgradeStage.DONE))
    elif state.stage is not UpgradeStage.STARTING:
        if state.stage is not UpgradeStage.DONE:
            yield _note(context, replace(state, stage=UpgradeStage.STARTING))
    elif seen.ready:
        yield from _set_going(context, seen, state)
    elif not seen.running:
        yield from _start(context, seen, state)


def _start(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    """Count the starts of the new server, which the part PostgreSQL makes; after too many, go back."""
    never_started = bool(seen.ended_at) and seen.ended_at == state.first_end
    if state.starts >= MOST_TRIES and never_started:
        reason = f"PostgreSQL {state.version} does not start: {seen.log or 'its log is empty'}"
        yield Exchange(context.paths.data, context.paths.other_data)
        yield _note(context, replace(state, stage=UpgradeStage.REFUSED, refused=reason))
        yield Wait("the former PostgreSQL is starting again", often=True)
    first_end = state.first_end if state.starts else seen.ended_at
    yield _note(context, replace(state, starts=state.starts + 1, first_end=first_end))


def _set_going(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    """The new server works: update extensions, and collect statistics while clients are back."""
    for database, names in seen.outdated.items():
        for name in names:
            yield Sql(database, f"updating extension {name}", (_update(name),))
    held = seen.at.seconds - state.stopped_at if state.boot == seen.at.boot else 0.0
    anew = tuple(one for one in state.collations if one not in seen.collations)
    after = replace(state, stage=UpgradeStage.STATISTICS, held_ms=round(held * 1000), sorts_anew=anew)
    yield _note(context, after)
    program = statistics_program(context)
    yield Remove(program.log)
    yield Start(program, "statistics")


def _update(name: str) -> Composed:
    # One that cannot be, such as one whose views others depend on, stays as it is, which works as before.
    body = f"ALTER EXTENSION {Identifier(name).as_string(None)} UPDATE"
    block = f"BEGIN {body}; EXCEPTION WHEN OTHERS THEN NULL; END"
    return SQL("DO {}").format(Literal(block))


def _again(context: NodeContext, seen: Seen, state: UpgradeState) -> Plan:
    """Begin again what was interrupted: by a crash of the machine, or by somebody who has ended a program."""
    if state.tries + 1 >= MOST_TRIES:
        yield from _refuse(context, seen, state, f"it was interrupted {MOST_TRIES} times")
        return
    yield from _end_programs(context, seen)
    yield from _remove(context)
    yield _note(context, replace(state, stage=UpgradeStage.AGAIN, tries=state.tries + 1))


def _refuse(context: NodeContext, seen: Seen, state: UpgradeState, reason: str) -> Plan:
    yield from _end_programs(context, seen)
    if seen.ready and seen.template_open:
        yield _close_template()
    yield from _remove(context)
    yield _note(context, replace(state, stage=UpgradeStage.REFUSED, refused=reason))
    yield Wait(f"it cannot be upgraded: {reason}")


def _clean_up(context: NodeContext, seen: Seen) -> Plan:
    """Remove what an upgrade has left that is over, in one way or the other."""
    if not seen.left or not seen.version:
        return
    if seen.version != context.cluster.version:
        yield Refuse(
            f"its data are of PostgreSQL {seen.version}, and its record wants {context.cluster.version}"
        )
        return
    if not seen.ready:
        return
    if seen.template_open:
        yield _close_template()
    for folder in seen.checked:
        yield EndProcesses(folder)
        yield Remove(folder)
    yield from _remove(context)
    yield Remove(context.paths.upgrade_state)


def _end_programs(context: NodeContext, seen: Seen) -> Iterator[Change]:
    for folder in (context.paths.upgrade_folder, context.paths.other_data):
        yield EndProcesses(folder)
    if seen.running and not seen.ours:  # pg_upgrade has started it
        yield Stop(context.server)


def _remove(context: NodeContext) -> Iterator[Change]:
    paths, pg_upgrade, statistics = context.paths, _program(context, ""), statistics_program(context)
    for folder in (paths.upgrade_folder, paths.other_data):
        yield EndProcesses(folder)
    for path in (paths.other_data, paths.upgrade_folder):
        yield Remove(path)
    for program in (pg_upgrade, statistics):
        yield Remove(program.log)
        yield Remove(program.stamp)


def _note(context: NodeContext, state: UpgradeState) -> WriteFile:
    return WriteFile(context.paths.upgrade_state, state.encode(), for_servers=False, durable=True)


def _close_template() -> Sql:
    return Sql(SUPERUSER, "closing database template1", (SQL(system_objects.CLOSE_TEMPLATE),))


def _files(context: NodeContext, version: str, *, archives: bool = True) -> dict[str, bytes]:
    """Return the configuration of the new server, by the names of the files.

    Unless it ``archives``, none of its WAL reaches an archive, and its superuser alone can log in.
    """
    after = _with_version(context, version)
    found = {path.name: content for path, content in postgresql.configuration_files(after).items()}
    if not archives:
        found["postgresql.conf"] += b"archive_mode = off\narchive_command = ''\n"
        found["pg_hba.conf"] = hba.render_local().encode()
    return found


def _with_version(context: NodeContext, version: str) -> NodeContext:
    return dataclasses.replace(context, data_version=version)


def _program(context: NodeContext, version: str, *more: str, data: Path | None = None) -> Program:
    paths, binaries = context.paths, context.host.binaries
    new = binaries.get(version, binaries.get(context.version))
    assert new is not None
    return paths.upgrading(
        PG_UPGRADE,
        new,
        f"--old-bindir={context.server_binaries}",
        f"--new-bindir={new}",
        f"--old-datadir={paths.data}",
        f"--new-datadir={data or paths.other_data}",
        f"--socketdir={context.cluster_paths.sockets}",
        f"--username={SUPERUSER}",
        *more,
    )


def statistics_program(context: NodeContext) -> Program:
    return context.paths.upgrading(
        VACUUMDB,
        context.server_binaries,
        *("--all", "--analyze-in-stages", f"--username={SUPERUSER}", "--no-password"),
        *(f"--host={context.cluster_paths.sockets}", f"--port={context.node.port}"),
    )


def _is_held(seen: Seen) -> bool:
    pause = seen.pause
    if not seen.held or pause is None or pause.owner != MOVE or pause.is_over(seen.at):
        return False
    return pause.until - seen.at.seconds > LEASE / 2


def file_named(output: str, data: Path) -> Path | None:
    """Return the file below the new data directory that pg_upgrade names, such as one with a list."""
    match = _NAMED_FILE.search(output)
    if match is None or ".." in match[1] or not match[1].startswith(f"{data}/"):
        return None  # the servers' account has written it
    return Path(match[1])


def reason_of(output: str) -> str:
    """Return why pg_upgrade refuses or fails, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() not in ("", FAILED)]
    first = next((at for at, line in enumerate(lines) if line.endswith(_MARKS)), max(0, len(lines) - 3))
    return " ".join(" ".join(lines[first:]).split())[:_LONGEST] or "pg_upgrade has ended without a word"


def _why(context: NodeContext) -> str:
    return f"PostgreSQL is being upgraded to {context.cluster.version}"


def _checking(context: NodeContext) -> str:
    return f"checking whether it can be upgraded to PostgreSQL {context.cluster.version}"


def _upgrading(context: NodeContext, output: str = "") -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    step = lines[-1].removesuffix("ok").strip() if lines else ""
    return _why(context) + (f": {step[0].lower()}{step[1:]}" if step else "")
