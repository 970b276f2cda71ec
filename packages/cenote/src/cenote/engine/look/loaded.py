"""What a running program has loaded: its process, and the stamp that its last start or reload left."""

from __future__ import annotations

from pathlib import Path

from cenote.engine.plan.loaded import Loaded
from cenote.host import files, processes
from cenote.model.changes import Program


def look(program: Program) -> Loaded:
    process = processes.find(program)
    if process is None:
        return Loaded(None, None)
    fields = (files.read(program.stamp) or b"").decode(errors="replace").split()
    known = len(fields) == 3 and fields[:2] == [str(process.pid), str(process.started)]
    return Loaded(process, fields[2] if known else None)


def look_at_files(paths: tuple[Path, ...]) -> dict[Path, bytes | None]:
    return {path: files.read(path) for path in paths}
