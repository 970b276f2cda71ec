"""Template data directories, one for each version of PostgreSQL; new clusters are copies of them.

The template contains what every cluster has (the administrator's role, the default database, the ledger), so
that a new cluster needs no SQL but for its password.

Copying 1,300 files takes 0.1 to 1 second, depending on the load of the disk.  So one copy is made in advance,
the spare, which is complete: a new cluster takes it by a rename.

``initdb`` runs as the servers' account, so what it makes is only looked at and copied; templates are ours.  A
copy is made, and given to the account, in a directory that nobody else can enter, and leaves it by a rename.

A data directory is synced to disk before it is used.  After a power failure, PostgreSQL replays only what it
wrote itself since the last checkpoint and relies on everything before that, which is the copy.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger, system_objects
from cenote.errors import CenoteError
from cenote.host import extensions, files, safe_open, system_identifier, tree_copy
from cenote.host.processes import Account
from cenote.model import environment
from cenote.model.records import ADMIN_USER, DEFAULT_DATABASE

# Not a superuser, as on the hosted product: https://docs.digitalocean.com/products/databases/postgresql/
ADMIN_ATTRIBUTES = "LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS"

# In template1, so that every database gets it.
_FIRST = (
    *system_objects.HARDEN,
    f"CREATE ROLE {ADMIN_USER} {ADMIN_ATTRIBUTES}",
    system_objects.LET_ADMIN_MONITOR,
)
_NOTED = {ledger.ROLE: ADMIN_USER, ledger.DATABASE: DEFAULT_DATABASE, ledger.LAYOUT: ledger.PRESENT_LAYOUT}
_LEDGER = "".join(f"{statement};\n" for statement in system_objects.CREATE_LEDGER)
_STATEMENTS = f"""\
CREATE DATABASE {DEFAULT_DATABASE} OWNER {ADMIN_USER};
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
{system_objects.CLOSE_TEMPLATE};
{_LEDGER}INSERT INTO cenote.made VALUES {", ".join(map(str, _NOTED.items()))};
INSERT INTO cenote.made SELECT 'database-state', '{DEFAULT_DATABASE}/oid/' || oid || '.0' FROM pg_database \
WHERE datname = '{DEFAULT_DATABASE}';
"""  # noqa: S608 - constants of ours
_DRAFT = ".draft-"
_LAYOUT = "2"  # templates of the first one belong to the servers' account
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
    if _user_of(path) == os.geteuid():
        return path
    files.make_directory(templates, 0o700, _ours(account.owner))
    with _draft(_workshop(templates), account.owner, files.PASSABLE) as workplace, _draft(templates) as draft:
        data = workplace / "data"
        _run(account, workplace, binaries / "initdb", *_INITDB, f"--pgdata={data}")
        for database, statements in _statements(binaries):
            single = ("--single", "-D", str(data), database)
            _run(account, workplace, binaries / "postgres", *single, stdin=statements)
        tree_copy.copy(data, draft / "data", account.user_id)
        _command("sync", "--file-system", str(draft))
        if _user_of(path) not in (None, os.geteuid()):
            files.remove(path)
        with contextlib.suppress(FileExistsError):  # another process was faster; its template is equal
            safe_open.rename_new(draft / "data", path)
    return path


def copy(source: Path, target: Path, owner: files.Owner | None) -> None:
    """Copy a template to a cluster's data directory, atomically.

    The spare is used if there is one; the rename decides between concurrent copies.
    """
    draft = target.with_name(f"{_DRAFT}{target.name}")
    files.remove(draft)
    try:
        _take_spare(source, target, owner)
    except OSError:  # there is none, or the clusters are on another file system
        try:
            files.make_directory(draft, 0o700, _ours(owner))
            safe_open.rename_new(_copy(source, draft, owner), target)
        finally:
            with contextlib.suppress(OSError):  # a partial copy would take space on a full disk
                files.remove(draft)
    # A directory entry lost by a power failure would look like a cluster that was never created.
    for folder in (target.parent, target.parent.parent):
        files.sync_directory(folder)


def create_spare(source: Path, owner: files.Owner | None) -> None:
    """Create the spare of a template unless it exists, for servers of this user and group."""
    spare = _spare(source)
    if _is_for(spare, owner):
        return
    files.remove(spare)
    with _draft(source.parent) as draft:
        safe_open.rename_new(_copy(source, draft, owner), spare)


def remove_outdated(templates: Path, kept: Collection[Path]) -> None:
    """Remove all but these templates and their spares: outdated ones and partial copies.

    No template or spare may be created meanwhile.
    """
    wanted = {path.name for source in kept for path in (source, _spare(source))}
    for folder in (templates, _workshop(templates)):
        for name in files.names(folder):
            if folder != templates or name not in wanted:
                files.remove(folder / name)


def _spare(source: Path) -> Path:
    return source.with_name(f"{source.name}.spare")


def _workshop(templates: Path) -> Path:
    """Return where ``initdb`` works; the servers' account cannot enter the folder of the templates."""
    return templates.with_name("initdb")


@contextlib.contextmanager
def _draft(folder: Path, owner: files.Owner | None = None, mode: int = 0o700) -> Iterator[Path]:
    """Make a directory of this owner in a folder of ours, which has this mode; remove it at the end."""
    files.make_directory(folder, mode, None)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder))
    try:
        files.set_owner(draft, 0o700, owner)
        yield draft
    finally:
        with contextlib.suppress(OSError):
            files.remove(draft)


def _ours(owner: files.Owner | None) -> files.Owner | None:
    """Return us as an owner, where the servers have another one."""
    return None if owner is None else (os.geteuid(), os.getegid())


def _user_of(path: Path) -> int | None:
    """Return the user that a directory belongs to; None if there is none."""
    found = files.ownership_of(path)
    return None if found is None else found[1]


def _is_for(spare: Path, owner: files.Owner | None) -> bool:
    found = files.ownership_of(spare)
    return found is not None and found[1:] == (owner or (os.geteuid(), found[2]))


def _take_spare(source: Path, target: Path, owner: files.Owner | None) -> None:
    """Rename the spare to be the data directory; OSError if it cannot be."""
    spare = _spare(source)
    if not _is_for(spare, owner):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(spare))
    safe_open.rename_new(spare, target)


def _copy(source: Path, draft: Path, owner: files.Owner | None) -> Path:
    """Make a data directory of its own in a directory that only we can enter, and return it."""
    data = draft / "data"
    # cp shares blocks where the file system can (reflinks), which the standard library does not.
    _command("cp", "--archive", "--reflink=auto", str(source), str(data))
    system_identifier.change(data, system_identifier.new_identifier())
    if owner is not None:
        _command("chown", "--recursive", "--no-dereference", f"{owner[0]}:{owner[1]}", str(data))
    # syncfs(2): a hundred times faster than fsync on 1,300 files.
    _command("sync", "--file-system", str(data))
    return data


def _command(*command: str) -> None:
    done = subprocess.run(command, env=environment.OF_PROGRAMS, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"{command[0]} failed"]
        raise CenoteError(f"cannot copy the template: {reason[0]}")


def _statements(binaries: Path) -> list[tuple[str, str]]:
    """Return databases and the statements to run in each."""
    extension = ""
    if extensions.has(binaries, extensions.EVERYWHERE):
        extension = _lines(system_objects.CREATE_STATEMENTS)
    second = extension + _STATEMENTS + _lines(system_objects.OPEN_POSTGRES)
    # Restored dumps and some frameworks create databases from template0.
    return [("template1", _lines(_FIRST) + extension), ("template0", extension), (SUPERUSER, second)]


def _lines(statements: Iterable[str]) -> str:
    return "".join(f"{statement};\n" for statement in statements)


def _name(binaries: Path) -> str:
    found = (binaries / "postgres").stat()
    release = _release(binaries, found.st_ino, found.st_mtime_ns)
    recipe = "\0".join((_LAYOUT, release, *(done for _, done in _statements(binaries)), *_INITDB))
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


def create_empty(
    binaries: Path, target: Path, account: Account, statements: Iterable[str], contents: Mapping[str, bytes]
) -> None:
    """Make a data directory without our objects in an empty folder of the servers' account.

    It has the encoding, the locale and the checksums of the templates.  The statements are run in its
    ``template0``; the files are written last, in place of its own.
    """
    _run(account, target, binaries / "initdb", *_INITDB, f"--pgdata={target}")
    run_alone(binaries, target, account, "template0", statements)
    for name, content in contents.items():
        files.write(target / name, content, 0o600, account.owner)


def run_alone(binaries: Path, data: Path, account: Account, database: str, statements: Iterable[str]) -> None:
    """Run statements in single-user mode; none may have an empty line in it."""
    lines = "".join(f"{statement};\n\n" for statement in statements)
    _run(account, data, binaries / "postgres", "--single", "-j", "-D", str(data), "--", database, stdin=lines)


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
