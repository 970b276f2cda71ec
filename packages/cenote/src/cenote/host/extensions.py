"""The extensions of a PostgreSQL installation, and which of them customers may create."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cenote.engine.plan import system_objects

# Created in every database in advance, since it takes a superuser.  It reads only the server's counters, and
# shows users without pg_read_all_stats no texts of other users' statements.
EVERYWHERE = system_objects.STATEMENTS

_TRUSTED = re.compile(r"^\s*trusted\s*=\s*'?(?:true|on|yes|1)\b", re.MULTILINE | re.IGNORECASE)


def offered(binaries: Path) -> tuple[str, ...]:
    """Return the extensions that customers may create: PostgreSQL's trusted ones, and ``EVERYWHERE``.

    The others take a superuser, and some would pass on superuser rights: to read files, to connect as the
    servers' account, to run code.
    """
    found = {path.stem for path in _control_files(binaries) if _TRUSTED.search(_text(path))}
    return tuple(sorted(found | ({EVERYWHERE} if has(binaries, EVERYWHERE) else set())))


def available(binaries: Path) -> frozenset[str]:
    """Return all extensions that there are."""
    return frozenset(path.stem for path in _control_files(binaries))


def has(binaries: Path, name: str) -> bool:
    return any(path.stem == name for path in _control_files(binaries))


def _control_files(binaries: Path) -> Iterator[Path]:
    prefix = binaries.parent
    # Debian (version last), PGDG's rpm packages, Homebrew, and builds from source.
    for share in (
        prefix.parents[2] / "share" / prefix.parent.name / prefix.name if len(prefix.parents) > 2 else prefix,
        prefix / "share",
        prefix / "share" / "postgresql",
        prefix / "share" / prefix.name,
    ):
        yield from (share / "extension").glob("*.control")


def _text(path: Path) -> str:
    return path.read_text(errors="replace")
