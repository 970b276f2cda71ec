"""One data directory for each version of PostgreSQL, made once; a cluster is a copy of it.

The template already holds what every cluster has (the administrator's role, the default database, our own
book of what we made), so that a new cluster needs no SQL but its password.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cenote.conf.hba import SUPERUSER
from cenote.domain import ADMIN_USER, DEFAULT_DATABASE
from cenote.errors import CenoteError
from cenote.host import files, identifier
from cenote.host.processes import Account

# No superuser, as on the hosted product: https://docs.digitalocean.com/products/databases/postgresql/
ADMIN_ATTRIBUTES = "LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS"

_STATEMENTS = f"""\
CREATE ROLE {ADMIN_USER} {ADMIN_ATTRIBUTES};
CREATE DATABASE {DEFAULT_DATABASE} OWNER {ADMIN_USER};
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
CREATE SCHEMA cenote;
CREATE TABLE cenote.made (kind text, name text, PRIMARY KEY (kind, name));
INSERT INTO cenote.made VALUES ('role', '{ADMIN_USER}'), ('database', '{DEFAULT_DATABASE}');
"""  # noqa: S608 - constants of ours
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
    release = subprocess.run(
        [binaries / "postgres", "--version"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    recipe = hashlib.sha256("\0".join((release, _STATEMENTS, *_INITDB)).encode())
    path = templates / recipe.hexdigest()[:32]
    if path.is_dir():
        return path
    files.make_directory(templates, 0o700, account.owner)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=templates))
    try:
        if account.owner is not None:
            os.chown(draft, *account.owner)
        data = draft / "data"
        _run(account, draft, binaries / "initdb", *_INITDB, f"--pgdata={data}")
        _run(
            account, draft, binaries / "postgres", "--single", "-D", str(data), "postgres", stdin=_STATEMENTS
        )
        with contextlib.suppress(OSError):  # somebody else was faster, and that template is as good
            os.rename(data, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def copy(source: Path, target: Path) -> None:
    """Copy a template to a cluster's data directory, which is there whole or not at all."""
    draft = target.with_name(f".draft-{target.name}")
    files.remove(draft)
    # cp shares blocks where the file system can, which no function of the standard library does.
    command = ["cp", "--archive", "--reflink=auto", str(source), str(draft)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or ["cp failed"]
        raise CenoteError(f"cannot copy the template: {reason[0]}")
    identifier.change(draft, identifier.new_identifier())
    os.replace(draft, target)


def _run(account: Account, directory: Path, program: Path, *arguments: str, stdin: str = "") -> None:
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
        timeout=300,
    )
    # In single-user mode a failed statement is reported and the exit code stays 0.
    if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CenoteError(f"{program.name} failed: {' '.join(last)}")
