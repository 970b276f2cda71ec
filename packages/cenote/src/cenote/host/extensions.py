"""Which extensions an installation of PostgreSQL has, and which of them customers can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

# Made in every database before a customer gets it, as it takes a superuser.  It reads nothing but what the
# server counts, and shows whoever may not see others' statements only their numbers.
EVERYWHERE = "pg_stat_statements"

_TRUSTED = re.compile(r"^\s*trusted\s*=\s*'?(?:true|on|yes|1)\b", re.MULTILINE | re.IGNORECASE)


def offered(binaries: Path) -> tuple[str, ...]:
    """Return the names of those that customers can have: what PostgreSQL calls trusted, and ``EVERYWHERE``.

    What is not trusted takes a superuser, whose powers some of them would lend: to read files, to connect as
    the servers' account, to run code.
    """
    found = {path.stem for path in _control_files(binaries) if _TRUSTED.search(_text(path))}
    return tuple(sorted(found | ({EVERYWHERE} if has(binaries, EVERYWHERE) else set())))


def has(binaries: Path, name: str) -> bool:
    return any(path.stem == name for path in _control_files(binaries))


def _control_files(binaries: Path) -> Iterator[Path]:
    prefix = binaries.parent
    # Debian, where the version comes last; PGDG's rpm packages; Homebrew, and a build of one's own.
    for share in (
        prefix.parents[2] / "share" / prefix.parent.name / prefix.name if len(prefix.parents) > 2 else prefix,
        prefix / "share",
        prefix / "share" / "postgresql",
        prefix / "share" / prefix.name,
    ):
        yield from (share / "extension").glob("*.control")


def _text(path: Path) -> str:
    return path.read_text(errors="replace")
