"""One data directory for each version of PostgreSQL, made once; a cluster is a copy of it.

The template already holds what every cluster has (the administrator's role, the default database, our own
book of what we made), so that a new cluster needs no SQL but its password.

Copying 1,300 files takes between a tenth of a second and a whole one, by what else the disk has to do.  So
one copy lies ready, the spare: a new cluster takes it by a rename.

A data directory is on the disk before anybody gets it.  PostgreSQL recovers from a power cut by what it wrote
itself since the last checkpoint, and takes everything before it, which is the copy, for granted.
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
from cenote.model.records import ADMIN_USER, DEFAULT_DATABASE

# No superuser, as on the hosted product: https://docs.digitalocean.com/products/databases/postgresql/
ADMIN_ATTRIBUTES = "LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS"

# Before PostgreSQL 16 whoever has CREATEROLE can grant itself these, and would then be the account that all
# servers of the host run as.  Only a superuser can grant what is one, and nobody becomes one by a grant.
_FOR_SUPERUSERS = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")

# In template1, so that every database has what stands there.
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
_LONGEST = 300  # seconds that one program may take
_INITDB = (
    f"--username={SUPERUSER}",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--data-checksums",
    "--auth=peer",
    "--no-instructions",
)


def template(templates: Path, binaries: Path, account: Account) -> Path:
    """Return the template for these binaries; it is made when it is not there.

    Its name covers the exact release and the recipe, so that an update of either makes another one.
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
        with contextlib.suppress(OSError):  # somebody else was faster, and that template is as good
            os.rename(data, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def copy(source: Path, target: Path) -> None:
    """Make a template's copy a cluster's data directory, which is there whole or not at all.

    The spare is taken when there is one: whoever renames it first has it.
    """
    draft = target.with_name(f".draft-{target.name}")
    files.remove(draft)
    try:
        try:
            os.rename(_spare(source), draft)
        except OSError:  # there is none, or the clusters are on another file system
            _copy(source, draft)
        for changed in system_identifier.change(draft, system_identifier.new_identifier()):
            _sync(changed)
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):  # half a copy would keep a full disk full
            files.remove(draft)
        raise
    # A folder whose name is lost with the power would be taken for one that was never made.
    for folder in (target.parent, target.parent.parent):
        _sync(folder)


def stock(source: Path) -> None:
    """Have a spare of a template; nothing when there is one."""
    spare = _spare(source)
    if spare.exists():
        return
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=source.parent))
    try:
        _copy(source, draft / "data")
        os.rename(draft / "data", spare)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def tidy(templates: Path, kept: Collection[Path]) -> None:
    """Remove what is neither one of these templates nor a spare of one: outdated ones, and halves of copies.

    Nobody else may be making one meanwhile.
    """
    wanted = {path.name for source in kept for path in (source, _spare(source))}
    for path in templates.iterdir():
        if path.name not in wanted:
            files.remove(path)


def _spare(source: Path) -> Path:
    return source.with_name(f"{source.name}.spare")


def _copy(source: Path, target: Path) -> None:
    # cp shares blocks where the file system can, which no function of the standard library does.
    _command("cp", "--archive", "--reflink=auto", str(source), str(target))
    # The whole file system at once: a hundred times faster than 1,300 files one by one.
    _command("sync", "--file-system", str(target))


def _command(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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
    """Return the databases, and what is done in each."""
    first = _FIRST + (_EXTENSION if extensions.has(binaries, extensions.EVERYWHERE) else "")
    return [("template1", first), ("postgres", _STATEMENTS)]


def _name(binaries: Path) -> str:
    found = (binaries / "postgres").stat()
    release = _release(binaries, found.st_ino, found.st_mtime_ns)
    recipe = "\0".join((release, *(done for _, done in _statements(binaries)), *_INITDB))
    return hashlib.sha256(recipe.encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=16)
def _release(binaries: Path, _inode: int, _changed_ns: int) -> str:
    """Return what the server says of itself; asked once for each program file, as that takes 10 ms."""
    try:
        return subprocess.run(
            [binaries / "postgres", "--version"], check=True, capture_output=True, text=True, timeout=30
        ).stdout
    except subprocess.SubprocessError as error:  # as while its package is being replaced
        raise CenoteError(f"PostgreSQL does not say its version: {error}") from None


def _run(account: Account, directory: Path, program: Path, *arguments: str, stdin: str = "") -> None:
    try:
        done = subprocess.run(
            [str(program), *arguments],
            input=stdin,
            cwd=directory,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        raise CenoteError(f"{program.name} did not end within {_LONGEST} seconds") from None
    # In single-user mode a failed statement is reported and the exit code stays 0.
    if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CenoteError(f"{program.name} failed: {' '.join(last)}")
