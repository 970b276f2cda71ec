"""Two major versions of PostgreSQL on one machine, for upgrades from one to the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cenote.host import programs

UNPACKED = Path("build/programs/postgresql-17/usr/lib/postgresql/17")  # by scripts/unpack-postgresql.sh


def program(name: str) -> str:
    """Return the path of a program of the newest version, which servers of earlier ones take, too."""
    found = programs.find(postgres_dirs=folders()).postgres
    return str(found[max(found, key=int)].bin / name)


def folders() -> list[Path]:
    """Return the folders of versions that were unpacked for tests."""
    return [UNPACKED.resolve()] if (UNPACKED / "bin" / "pg_upgrade").exists() else []


def pair() -> tuple[str, str, list[str]]:
    """Return the older and the newer version, and the options with which ``cenote serve`` has both."""
    unpacked = folders()
    found = programs.find(postgres_dirs=unpacked).postgres
    usable = [major for major, install in found.items() if (install.bin / "pg_upgrade").exists()]
    if len(usable) < 2:
        pytest.skip("a second major version of PostgreSQL cannot be fetched here")
    return usable[0], usable[-1], [f"--postgres-dir={folder}" for folder in unpacked]
