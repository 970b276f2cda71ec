"""What is in the way of an upgrade to another major version, found while the server works.

By SQL, by the files of the new version, and by ``pg_upgrade --check``, which needs an empty data directory of
its own and ``template1`` open to connections for that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.major_upgrade import file_named
from cenote.errors import CenoteError
from cenote.host import extensions, file_cloning, files, processes, system
from cenote.host.processes import Account
from cenote.host.sql import Session
from cenote.model import environment
from cenote.model.paths import NodePaths
from cenote.rules import refused_settings

_MOST = 4096  # bytes of a file that pg_upgrade names
_SLACK_MIB = 256  # of an empty data directory, and WAL
_CHECKED: set[Path] = set()  # the nodes that are being checked by this process
_DATABASES = """
SELECT datname, datallowconn, datconnlimit FROM pg_database WHERE datname NOT IN ('template0', 'template1')
ORDER BY datname
"""
_PREPARED = "SELECT gid, database FROM pg_prepared_xacts ORDER BY 1"
_SLOTS = """
SELECT slot_name FROM pg_replication_slots
WHERE slot_type = 'logical' OR slot_name !~ '^cenote_' AND slot_name !~ '^node_[0-9]+$' ORDER BY 1
"""  # those of Patroni go with it
_EXTENSIONS = "SELECT extname FROM pg_extension ORDER BY 1"
_SCHEMA = "SELECT FROM pg_namespace WHERE nspname = 'cenote'"
_SET_BY_SQL = """
SELECT coalesce(datname, ''), coalesce(rolname, ''), split_part(setting, '=', 1),
    substr(setting, strpos(setting, '=') + 1)
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
LEFT JOIN pg_database ON pg_database.oid = setdatabase LEFT JOIN pg_roles ON pg_roles.oid = setrole
ORDER BY 1, 2, 3
"""


async def hindrances(context: NodeContext, session: Session, version: str) -> tuple[str, ...]:
    """Return what is in the way of an upgrade, in words, without what ``pg_upgrade --check`` finds."""
    binaries = context.host.binaries.get(version)
    if binaries is None:
        return (f"PostgreSQL {version} is not installed on its host",)
    if not os.access(binaries / "pg_upgrade", os.X_OK):
        return (f"pg_upgrade of PostgreSQL {version} is not installed on its host",)
    found = [*_of_backups(context, version), *_of_space(context)]
    found += [
        f"the prepared transaction {gid!r} in database {name} is open: commit it or roll it back"
        for gid, name in await session.rows(SUPERUSER, _PREPARED)
    ]
    found += [
        f"the replication slot {name} would not come along: drop it"
        for (name,) in await session.rows(SUPERUSER, _SLOTS)
    ]
    available = extensions.available(binaries)
    for name, is_open, limit in await session.rows(SUPERUSER, _DATABASES):
        if limit == -2:
            found.append(f"database {name} is what an interrupted DROP DATABASE has left: drop it")
        elif not is_open:
            found.append(f"database {name} takes no connections: ALTER DATABASE … ALLOW_CONNECTIONS true")
        else:
            found += await _of_database(session, name, available, version)
    found += await _of_settings(context, session, binaries, version)
    return tuple(found)


async def _of_database(session: Session, name: str, available: frozenset[str], version: str) -> list[str]:
    found = [
        f"PostgreSQL {version} on its host has no extension {extension}, which database {name} has"
        for (extension,) in await session.rows(name, _EXTENSIONS)
        if extension not in available
    ]
    if name != SUPERUSER and await session.rows(name, _SCHEMA):
        found.append(f"database {name} has a schema named cenote, which the upgrade needs: rename it")
    return found


def _of_backups(context: NodeContext, version: str) -> Iterator[str]:
    kept = context.host.backups
    if context.backups is not None and kept is not None and (words := kept.hindrance(version)):
        yield f"it would get no backups any more: {words}"


def _of_space(context: NodeContext) -> Iterator[str]:
    root = context.cluster_paths.root
    wanted = _SLACK_MIB
    if not file_cloning.works(root):
        wanted += system.disk_use(context.paths.data).used_mib
    free = system.free_mib(root)
    if free < wanted:
        yield f"its data are copied, which takes {wanted} MiB, and the disk has {free} MiB free"


async def _of_settings(context: NodeContext, session: Session, binaries: Path, version: str) -> list[str]:
    account = _account(context)
    chosen = refused_settings.written(context.cluster, context.refused)
    by_sql = [row for row in await session.rows(SUPERUSER, _SET_BY_SQL) if "." not in row[2]]
    server = context.paths.server(binaries)
    values = chosen | {name: value for _, _, name, value in by_sql}
    refused = await asyncio.to_thread(processes.refused_settings, server, account, values)
    found = [
        f"PostgreSQL {version} does not take the setting {name} = {value}"
        for name, value in chosen.items()
        if name in refused
    ]
    for database, role, name, value in by_sql:
        if refused.get(name) == value:
            whose = " and ".join(filter(None, (role and f"role {role}", database and f"database {database}")))
            found.append(f"PostgreSQL {version} does not take {name} = {value}, set for {whose or 'all'}")
    return found


def _account(context: NodeContext) -> Account:
    uid, gid = context.host.server_ids or (None, None)
    return Account(context.host.server_user, uid, gid)


def folder_of(paths: NodePaths) -> Path:
    """Return the folder of a check beside a server."""
    return paths.cluster.root / "upgrade-check"


def data_of(folder: Path) -> Path:
    """Return the data directory of a check; not in its folder, which is the servers' account's."""
    return folder.with_name("upgrade-check-data")


def left_by_check(context: NodeContext) -> tuple[Path, ...]:
    """Return the folders that a check has left, as one whose process was killed."""
    folder = folder_of(context.paths)
    if folder in _CHECKED:
        return ()
    return tuple(path for path in (folder, data_of(folder)) if files.mode_of(path) is not None)


def with_details(output: str, data: Path) -> str:
    """Return what pg_upgrade has said, with the list or the errors in the file that it names.

    Of a log only the lines with errors: others have statements in them, with verifiers of passwords.
    """
    named = file_named(output, data)
    if named is None:
        return output
    lines = (files.read(named) or b"")[-_MOST:].decode(errors="replace").splitlines()
    if named.suffix == ".log":
        lines = [line for line in lines if "error:" in line.lower()]
    return "\n".join([output, *lines])


@contextlib.contextmanager
def checking(paths: NodePaths) -> Iterator[Path]:
    """Have the only check of a node in this process; yields its folder."""
    folder = folder_of(paths)
    if folder in _CHECKED:
        raise CenoteError("it is being checked already whether the cluster can be upgraded")
    _CHECKED.add(folder)
    try:
        yield folder
    finally:
        _CHECKED.discard(folder)


async def run(argv: tuple[str, ...], folder: Path, account: Account) -> str:
    """Run a program in a folder as the servers' account and return what it says; cancelled, it is ended."""
    process = _started(argv, folder, account)
    waiting = asyncio.get_running_loop().run_in_executor(None, process.communicate)
    try:
        output, _ = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        raise
    return str(output)


def _started(argv: tuple[str, ...], folder: Path, account: Account) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment.OF_PROGRAMS,
        process_group=0,
        umask=0o077,
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
    )
