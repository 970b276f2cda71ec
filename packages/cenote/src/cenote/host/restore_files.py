"""The files that say how far a restore is; both are ours alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from cenote.host import files
from cenote.model.restores import CopyMark, RestoreState

_states, _marks = msgspec.json.Decoder(RestoreState), msgspec.json.Decoder(CopyMark)


def read_state(path: Path) -> RestoreState | None:
    with contextlib.suppress(msgspec.DecodeError):
        return _states.decode(files.read(path) or b"")
    return None


def write_state(path: Path, state: RestoreState) -> None:
    """What came of it is on disk before the call returns; words may be lost."""
    files.write(path, msgspec.json.encode(state), 0o600, None, durable=state.restored is not None)


def read_mark(path: Path) -> CopyMark | None:
    with contextlib.suppress(msgspec.DecodeError):
        return _marks.decode(files.read(path) or b"")
    return None


def write_mark(path: Path, mark: CopyMark) -> None:
    files.write(path, msgspec.json.encode(mark), 0o600, None)
