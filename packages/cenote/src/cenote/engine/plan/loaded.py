"""The configuration that a running program has loaded, as opposed to what its files say.

Each start and reload leaves a stamp: the process, and a digest of the configuration that it read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cenote.model.changes import Plan, Program, WriteFile
from cenote.model.processes import Process


@dataclass(frozen=True, slots=True)
class Loaded:
    """``digest`` is of the configuration that the process runs on, or None when that is not known."""

    process: Process | None
    digest: str | None


def write_differing(
    program: Program,
    contents: Mapping[Path, bytes],
    found: Mapping[Path, bytes | None],
    seen: Loaded,
    digest: str,
    unknown: str = "unknown",
) -> Plan:
    """Yield a write for each file whose content is not the desired one.

    Where the stamp says that the process has read the right files, somebody else has changed one since and
    may have reloaded the process.  So the stamp becomes ``unknown`` first, and a reload follows, in this pass
    or later.
    """
    differing = [path for path, content in contents.items() if found.get(path) != content]
    if differing and seen.process is not None and seen.digest == digest:
        stamp = f"{seen.process.pid} {seen.process.started} {unknown}\n".encode()
        yield WriteFile(program.stamp, stamp, for_servers=False)
    for path in differing:
        yield WriteFile(path, contents[path])


def is_current(
    contents: Mapping[Path, bytes], found: Mapping[Path, bytes | None], seen: Loaded, digest: str
) -> bool:
    """Return whether the process has loaded the desired configuration and needs no reload."""
    return seen.digest == digest and all(found.get(path) == content for path, content in contents.items())


def digest(*contents: bytes) -> str:
    """Return a digest of these contents in this order; boundaries between them count."""
    total = hashlib.sha256()
    for content in contents:
        total.update(len(content).to_bytes(8, "big"))
        total.update(content)
    return total.hexdigest()[:32]
