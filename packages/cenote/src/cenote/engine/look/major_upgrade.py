"""The upgrade of a server to another major version: how far it is, and what would be in its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cenote.conf.hba import SUPERUSER
from cenote.engine.look import loaded
from cenote.engine.look.ending import pools_of
from cenote.engine.look.postgresql import is_ready
from cenote.engine.plan import system_objects
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.major_upgrade import Facts, Seen, check_program, is_upgraded_here, statistics_program
from cenote.host import control_file, file_cloning, files, pauses, processes, upgrade_checks
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.model import upgrade_state
from cenote.model.changes import Program
from cenote.model.records import PoolMode
from cenote.model.upgrade_state import IndexCollation, UpgradeStage

_TEMPLATE_OPEN = "SELECT datallowconn FROM pg_database WHERE datname = 'template1'"
_DATABASES = "SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1') ORDER BY 1"
_STATEMENTS = f"SELECT extversion FROM pg_extension WHERE extname = '{system_objects.STATEMENTS}'"  # noqa: S608
_OUTDATED = f"""
SELECT extname FROM pg_extension JOIN pg_available_extensions ON name = extname
WHERE extversion <> default_version AND extname <> '{system_objects.STATEMENTS}' ORDER BY 1
"""  # noqa: S608 - a constant of ours
# What is compared is the version of the library, since that which a collation was made with is carried over.
_COLLATIONS = """
SELECT DISTINCT quote_ident(collname), pg_collation_actual_version(pg_collation.oid)
FROM pg_index CROSS JOIN unnest(indcollation) AS used JOIN pg_collation ON pg_collation.oid = used
WHERE indexrelid >= 16384 AND collprovider <> 'd' ORDER BY 1
"""
_BEFORE = (None, UpgradeStage.AGAIN)


async def look(inspector: Inspector, context: NodeContext, session: Session) -> Seen:
    paths, mark = context.paths, context.cluster.major_upgrade
    version = control_file.major_version(paths.data)
    state = upgrade_state.decode(files.read(paths.upgrade_state))
    checked = upgrade_checks.left_by_check(context)
    left = state is not None or bool(checked)
    if mark is None and not left:
        return Seen(version=version, at=pauses.now())
    system = control_file.system(paths.data)
    if not is_upgraded_here(context):
        return Seen(version=version, at=pauses.now(), system=system)
    found = loaded.look(context.server)
    # And not pg_upgrade's, of its own socket.
    is_known = found.digest is not None or NodeKind.MANAGED in context.kinds
    ours = found.process is not None and is_known
    ready = ours and is_ready(context.server, found)
    is_of_mark = mark is not None and state is not None and state.asked_at == mark.asked_at
    stage = state.stage if state is not None and is_of_mark else None
    program = _program(context, stage)
    running = found.process is not None or bool(processes.below(paths.data, "postgres"))
    seen: dict[str, Any] = {}
    if ready:
        [(seen["template_open"],)] = await session.rows(SUPERUSER, _TEMPLATE_OPEN)
    works = program is not None and loaded.look(program).process is not None
    is_old = mark is not None and version != context.cluster.version
    if ready and is_old and not works and stage in (*_BEFORE, UpgradeStage.CHECKING):
        seen["facts"] = await _facts(session)
        seen["clones"] = file_cloning.works(paths.cluster.root)
    if ready and is_old and stage in _BEFORE:
        seen["hindrances"] = await upgrade_checks.hindrances(context, session, context.cluster.version)
    if ready and stage is UpgradeStage.STARTING and not is_old:
        databases = () if state is None else state.databases
        seen["outdated"] = await _outdated(session, databases)
        seen["collations"] = await _collations(session, databases)
    is_one = mark is not None and not mark.node
    if is_old and is_one and stage in (UpgradeStage.CHECKING, UpgradeStage.RUNNING):
        pools = await pools_of(inspector, context, session)
        seen["pools"] = tuple(pools)
        seen["sessions"] = frozenset(
            name for name, row in pools.items() if row["pool_mode"] == PoolMode.SESSION
        )
        seen["held"] = all(row["paused"] for row in pools.values())
    return Seen(
        version=version,
        at=pauses.now(),
        state=state,
        running=running,
        ready=ready,
        ours=ours,
        program=works,
        output="" if program is None else _output(program, paths.other_data),
        ended_at=0 if running else control_file.shut_down_at(paths.data),
        pause=pauses.read(context.cluster_paths.root),
        left=left,
        checked=checked,
        log=files.tail(context.server.log),
        system=system,
        **seen,
    )


def _program(context: NodeContext, stage: UpgradeStage | None) -> Program | None:
    if stage in (UpgradeStage.CHECKING, UpgradeStage.RUNNING):
        return check_program(context, context.cluster.version)
    return statistics_program(context) if stage is UpgradeStage.STATISTICS else None


async def _facts(session: Session) -> Facts:
    ledger = await session.rows(SUPERUSER, "SELECT kind, name FROM cenote.made ORDER BY 1, 2")
    databases = tuple(name for (name,) in await session.rows(SUPERUSER, _DATABASES))
    return Facts(
        databases,
        tuple((kind, name) for kind, name in ledger),
        await statements_version(session),
        await _collations(session, databases),
    )


async def _collations(session: Session, databases: tuple[str, ...]) -> tuple[IndexCollation, ...]:
    found = {database: await session.rows(database, _COLLATIONS) for database in databases}
    return tuple(
        IndexCollation(database=database, name=name, version=version)
        for database, rows in found.items()
        for name, version in rows
        if version is not None
    )


async def statements_version(session: Session) -> str:
    """Return the version of our extension on a server, "" where it is missing."""
    rows = await session.rows(SUPERUSER, _STATEMENTS)
    return rows[0][0] if rows else ""


async def _outdated(session: Session, databases: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {name: await session.rows(name, _OUTDATED) for name in databases}
    return {name: tuple(extension for (extension,) in rows) for name, rows in found.items() if rows}


def _output(program: Program, data: Path) -> str:
    """Return what a program has said, with the file that it names."""
    return upgrade_checks.with_details((files.read(program.log) or b"").decode(errors="replace"), data)
