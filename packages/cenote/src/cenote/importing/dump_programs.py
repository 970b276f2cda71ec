"""pg_dump and pg_restore of this machine, and the environment variables that connect them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg import pq

from cenote.errors import Invalid
from cenote.host import programs
from cenote.model import environment

_INSTALL = {
    "apt-get": "apt-get install postgresql-client",
    "dnf": "dnf install postgresql",
    "brew": "brew install libpq",
}
_OF_LIBPQ = "PG"


@dataclass(frozen=True, slots=True)
class DumpPrograms:
    """Both programs of one installation; ``version`` is a major version, such as 15."""

    version: int
    dump: Path
    restore: Path


def find(root: Path = Path("/")) -> list[DumpPrograms]:
    """Return what is installed, the oldest version first.

    Debian's /usr/bin/pg_dump is a wrapper that chooses a version; the programs themselves are asked first.
    """
    folders = [folder for pattern in programs.POSTGRES_BINS for folder in sorted(root.glob(pattern))]
    folders += map(
        Path, filter(None, (*os.environ.get("PATH", "").split(os.pathsep), *environment.PATH.split(":")))
    )
    found: dict[int, DumpPrograms] = {}
    for folder in folders:
        dump, restore = folder / "pg_dump", folder / "pg_restore"
        if os.access(dump, os.X_OK) and os.access(restore, os.X_OK):
            match = programs.VERSION.search(programs.ask_version(dump) or "")
            if match is not None:
                version = int(match[1].split(".")[0])
                found.setdefault(version, DumpPrograms(version, dump, restore))
    return [found[version] for version in sorted(found)]


def choose(installed: Sequence[DumpPrograms], source: int, target: int) -> DumpPrograms:
    """Return the programs for these major versions.

    pg_dump refuses a server that is newer than itself.  The oldest that suits both sides is the best: a newer
    one may write statements that an older target does not know.
    """
    if not installed:
        raise Invalid(f"pg_dump and pg_restore not found; install them with '{_install()}'")
    for one in installed:
        if one.version >= max(source, target):
            return one
    newest = installed[-1]
    if newest.version < source:
        raise Invalid(
            f"the source is PostgreSQL {source}, and the newest pg_dump here is of version {newest.version},"
            f" which refuses a newer server; install version {source} with '{_install(source)}'"
        )
    return newest


def source_environment(uri: str) -> tuple[dict[str, str], str]:
    """Return the variables that connect pg_dump to the source, and the rest of ``uri`` for its arguments.

    Passwords are in variables only, which other accounts cannot read.
    """
    try:
        options = pq.Conninfo.parse(uri.encode())
        variables = {one.keyword: one.envvar for one in pq.Conninfo.get_defaults()}
    except Exception as error:
        raise not_parsed(error) from None
    set_variables, rest = {}, []
    for option in options:
        if option.val is None:
            continue
        variable = variables.get(option.keyword)
        if variable is not None:
            set_variables[variable.decode()] = option.val.decode()
        elif option.keyword in (b"sslpassword", b"scram_client_key", b"scram_server_key"):
            raise Invalid(f"--from: {option.keyword.decode()} is not supported; use a key without a password")
        else:
            rest.append(f"{option.keyword.decode()}={_quoted(option.val.decode())}")
    return set_variables, " ".join(rest)


def not_parsed(error: Exception) -> Invalid:
    """Return why libpq does not understand the source, without what it quotes: that may be a password."""
    text = " ".join(str(error).split())
    if not text.startswith("invalid connection option"):
        text = re.sub(r'("=")|".*"', lambda found: found[1] or '"…"', text)
    return Invalid(f"--from: {text}")


def plain_environment(mine: Mapping[str, str], *, keep_libpq: bool) -> dict[str, str]:
    """Return our variables in the locale C, with those of libpq only where they are about the source."""
    kept = {name: value for name, value in mine.items() if keep_libpq or not name.startswith(_OF_LIBPQ)}
    for name in [name for name in kept if name.startswith("LC_") or name in ("LANG", "LANGUAGE", "PG_COLOR")]:
        del kept[name]
    return kept | {"LC_ALL": "C"}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _install(version: int | None = None) -> str:
    for manager, command in _INSTALL.items():
        if shutil.which(manager):
            suffix = f"-{version}" if version is not None and manager == "apt-get" else ""
            sudo = "" if os.geteuid() == 0 or manager == "brew" else "sudo "
            return f"{sudo}{command}{suffix}"
    return "the system's package manager (the client programs of PostgreSQL)"
