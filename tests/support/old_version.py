"""Former versions of the service, from archives in ``tests/data``, in an environment of their own.

An archive is made by ``git archive REVISION packages/cenote/src packages/cenote-client/src | xz -9e``; it
stands in the repository because a shallow clone has no history.
"""

from __future__ import annotations

import fcntl
import shutil
import tarfile
from pathlib import Path

from tests.support.environments import BUILD, python_of

HOSTS = "17e739f"  # the last one before restores: many hosts, moves, backups; records up to format 4
FIRST = "501e395"  # before the web framework and most modules were changed
LANDED = "2621292"  # the last one that knows no other hosts
LAST = "93d0b7d"  # the last one that is a single process and keeps records of format 1
ARCHIVES = Path(__file__).parents[1] / "data"
PINS = Path(__file__).with_name("old-version.txt")
SOURCES = ("packages/cenote/src", "packages/cenote-client/src")


def command(revision: str) -> tuple[str, ...]:
    """Return the beginning of the command lines of ``cenote`` as it was; a test is skipped without packages.

    ``env`` replaces itself by the service, so the pid of this command is the service's.
    """
    return command_of(sources(revision), python_of("old-version", PINS))


def command_of(tree: Path, python: Path) -> tuple[str, ...]:
    """Return the same for the ``cenote`` in a source tree, run by this interpreter."""
    path = ":".join(str(tree / source) for source in SOURCES)
    return ("/usr/bin/env", f"PYTHONPATH={path}", str(python), "-c", "from cenote.cli import main; main()")


def sources(revision: str) -> Path:
    """Return the unpacked archive of a revision, the same for all tests of a clone."""
    archive = ARCHIVES / f"cenote-{revision}.tar.xz"
    folder = BUILD / f"cenote-{revision}"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unpacking = folder.with_suffix(".new")
            shutil.rmtree(unpacking, ignore_errors=True)
            with tarfile.open(archive) as stored:
                # The default of Python 3.14; the archive is ours.
                stored.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                stored.extractall(unpacking)  # noqa: S202
            unpacking.rename(folder)
    return folder
