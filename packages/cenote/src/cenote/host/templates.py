"""Template data directories, one for each version of PostgreSQL; new clusters are copies of them.

The template contains what every cluster has (the administrator's role, the default database, the ledger), so
that a new cluster needs no SQL but for its password.

Copying 1,300 files takes 0.1 to 1 second, depending on the load of the disk.  So one copy is made in advance,
the spare: a new cluster takes it by a rename.

A data directory is synced to disk before it is used.  After a power failure, PostgreSQL replays only what it
wrote itself since the last checkpoint and relies on everything before that, which is the copy.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.errors import CenoteError
from cenote.host import extensions, files, system_identifier
from cenote.host.processes import Account
from cenote.model import environment
from cenote.model.records import ADMIN_USER, DEFAULT_DATABASE

# Not a superuser, as on the hosted product: https://docs.digitalocean.com/products/databases/postgresql/
ADMIN_ATTRIBUTES = "LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS"

# Before PostgreSQL 16 a role with CREATEROLE can grant itself these, and thereby act as the account that all
# servers of the host run as.  As superusers they can be granted by superusers only, and a grant of them makes
# nobody a superuser.
_FOR_SUPERUSERS = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")

# In template1, so that every database gets it.
_FIRST = f"""\
SET allow_system_table_mods = on;
UPDATE pg_authid SET rolsuper = true WHERE rolname IN {_FOR_SUPERUSERS!r};
RESET allow_system_table_mods;
CREATE ROLE {ADMIN_USER} {ADMIN_ATTRIBUTES};
GRANT pg_monitor TO {ADMIN_USER} WITH ADMIN OPTION;
"""  # noqa: S608 - constants of ours
_EXTENSION = f"""\
CREATE EXTENSION {extensions.EVERYWHERE} SCHEMA public;
GRANT EXECUTE ON FUNCTION public.{extensions.EVERYWHERE}_reset TO {ADMIN_USER};
"""
_STATEMENTS = f"""\
CREATE DATABASE {DEFAULT_DATABASE} OWNER {ADMIN_USER};
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
CREATE SCHEMA cenote;
CREATE TABLE cenote.made (kind text, name text, PRIMARY KEY (kind, name));
INSERT INTO cenote.made VALUES ('role', '{ADMIN_USER}'), ('database', '{DEFAULT_DATABASE}');
"""  # noqa: S608 - constants of ours
_DRAFT = ".draft-"
_PROGRAM_SECONDS = 300  # seconds that one program may take
_INITDB = (
    f"--username={SUPERUSER}",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--data-checksums",
    "--auth=peer",
    "--no-instructions",
)


def find_or_create(templates: Path, binaries: Path, account: Account) -> Path:
    """Return the template for these binaries; create it if it does not exist.

    Its name is a digest of the exact release and the recipe, so that an update of either makes a new one.
    """
    path = templates / _name(binaries)
    if path.is_dir():
        return path
    files.make_directory(templates, 0o700, account.owner)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=templates))
    try:
        if account.owner is not None:
            os.chown(draft, *account.owner)
        data = draft / "data"
        _run(account, draft, binaries / "initdb", *_INITDB, f"--pgdata={data}")
        for database, statements in _statements(binaries):
            single = ("--single", "-D", str(data), database)
            _run(account, draft, binaries / "postgres", *single, stdin=statements)
        with contextlib.suppress(OSError):  # another process was faster; its template is equal
            os.rename(data, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def copy(source: Path, target: Path) -> None:
    """Copy a template to a cluster's data directory, atomically.

    The spare is used if there is one; the rename decides between concurrent copies.
    """
    draft = target.with_name(f".draft-{target.name}")
    files.remove(draft)
    try:
        try:
            os.rename(_spare(source), draft)
        except OSError:  # no spare, or the clusters are on another file system
            _copy(source, draft)
        for changed in system_identifier.change(draft, system_identifier.new_identifier()):
            _sync(changed)
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):  # a partial copy would take space on a full disk
            files.remove(draft)
        raise
    # A directory entry lost by a power failure would look like a cluster that was never created.
    for folder in (target.parent, target.parent.parent):
        _sync(folder)


def create_spare(source: Path) -> None:
    """Create the spare of a template unless it exists."""
    spare = _spare(source)
    if spare.exists():
        return
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=source.parent))
    try:
        _copy(source, draft / "data")
        os.rename(draft / "data", spare)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_outdated(templates: Path, kept: Collection[Path]) -> None:
    """Remove all but these templates and their spares: outdated ones and partial copies.

    No template or spare may be created meanwhile.
    """
    wanted = {path.name for source in kept for path in (source, _spare(source))}
    for path in templates.iterdir():
        if path.name not in wanted:
            files.remove(path)


def _spare(source: Path) -> Path:
    return source.with_name(f"{source.name}.spare")


def _copy(source: Path, target: Path) -> None:
    # cp shares blocks where the file system can (reflinks), which the standard library does not.
    _command("cp", "--archive", "--reflink=auto", str(source), str(target))
    # syncfs(2): a hundred times faster than fsync on 1,300 files.
    _command("sync", "--file-system", str(target))


def _command(*command: str) -> None:
    done = subprocess.run(command, env=environment.OF_PROGRAMS, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"{command[0]} failed"]
        raise CenoteError(f"cannot copy the template: {reason[0]}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _statements(binaries: Path) -> list[tuple[str, str]]:
    """Return databases and the statements to run in each."""
    first = _FIRST + (_EXTENSION if extensions.has(binaries, extensions.EVERYWHERE) else "")
    return [("template1", first), ("postgres", _STATEMENTS)]


def _name(binaries: Path) -> str:
    found = (binaries / "postgres").stat()
    release = _release(binaries, found.st_ino, found.st_mtime_ns)
    recipe = "\0".join((release, *(done for _, done in _statements(binaries)), *_INITDB))
    return hashlib.sha256(recipe.encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=16)
def _release(binaries: Path, _inode: int, _changed_ns: int) -> str:
    """Return the output of ``postgres --version``; cached for each program file, since it takes 10 ms."""
    try:
        return subprocess.run(
            [binaries / "postgres", "--version"],
            env=environment.OF_PROGRAMS,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
    except subprocess.SubprocessError as error:  # such as while its package is being upgraded
        raise CenoteError(f"cannot get the version of PostgreSQL: {error}") from None


def _run(account: Account, directory: Path, program: Path, *arguments: str, stdin: str = "") -> None:
    try:
        done = subprocess.run(
            [str(program), *arguments],
            input=stdin,
            cwd=directory,
            env=environment.OF_PROGRAMS,
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PROGRAM_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CenoteError(f"{program.name} did not end within {_PROGRAM_SECONDS} seconds") from None
    # In single-user mode a failed statement is reported and the exit code stays 0.
    if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CenoteError(f"{program.name} failed: {' '.join(last)}")
