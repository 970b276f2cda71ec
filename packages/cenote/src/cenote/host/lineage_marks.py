"""The marks in a repository that say which servers may archive there; see ``rules/lineages.py``."""

from __future__ import annotations

from pathlib import Path

from cenote.host.backup_program import BackupError, BackupProgram
from cenote.rules import lineages


async def names(program: BackupProgram, configuration: Path, directory: Path, stanza: str) -> list[str]:
    """Return the marks of a cluster."""
    listed = await program.run(
        configuration, directory, "", "repo-ls", lineages.folder(stanza), f"--filter={lineages.NAME}"
    )
    return listed.split()


async def check(program: BackupProgram, configuration: Path, directory: Path, stanza: str, own: str) -> None:
    """Raise BackupError beside a mark that is newer than ``own``."""
    if lineages.is_superseded(own, await names(program, configuration, directory, stanza)):
        raise BackupError(lineages.SUPERSEDED)


async def leave(program: BackupProgram, configuration: Path, directory: Path, stanza: str, mark: str) -> None:
    """Leave a mark, unless there is a newer one, which is a BackupError."""
    await check(program, configuration, directory, stanza, mark)
    path = f"{lineages.folder(stanza)}/{mark}"
    await program.run(configuration, directory, "", "repo-put", "--raw", path, content=f"{mark}\n".encode())
    await check(program, configuration, directory, stanza, mark)  # one that came at the same moment
