"""Temporary folders that servers of another account can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder directly below the system's one for temporary files, removed at the end.

    pytest's own are below a folder that only its user may enter, and when that is root, PostgreSQL runs as
    somebody else.  The short name leaves room for the names of unix sockets.
    """
    folder = Path(tempfile.mkdtemp(prefix="cenote-"))
    os.chmod(folder, 0o711)  # noqa: S103
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
