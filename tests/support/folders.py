"""Temporary folders that servers of another account can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30


@contextmanager
def server_folder(*, on_disk: bool = False) -> Iterator[Path]:
    """A folder that other accounts may pass through, removed at the end.

    pytest's own are below a folder that only its user may enter, and when that is root, PostgreSQL runs as
    somebody else.  The short name leaves room for the names of unix sockets.
    """
    folder = Path(tempfile.mkdtemp(prefix="cenote-", dir=None if on_disk else _memory()))
    os.chmod(folder, 0o711)  # noqa: S103
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Where folders are in memory, when there is plenty of it and nobody has asked for another place.

    A cluster is 1,300 files: making and removing them is most of what a test on a disk does.
    """
    if "TMPDIR" in os.environ or not os.access(IN_MEMORY, os.W_OK):
        return None
    return IN_MEMORY if shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES else None
