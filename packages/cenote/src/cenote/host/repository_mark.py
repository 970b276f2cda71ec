"""The mark in a repository that tells it from others; see ``rules/repository_identity.py``."""

from __future__ import annotations

import secrets
from pathlib import Path

from cenote.host.backup_program import BackupProgram
from cenote.rules import repository_identity


async def found_or_left(program: BackupProgram, configuration: Path, known: str) -> str:
    """Return the mark of a repository, and leave one where there is none; BackupError where that fails.

    Of two hosts that leave one at the same moment, both have the later one at their next look.  Where one is
    ``known`` and not there, nothing is left: it may be that a disk is not mounted.
    """
    found = await _found(program, configuration) or known
    if not found:
        content = f"{secrets.token_hex(16)}\n".encode()
        await _run(program, configuration, "repo-put", "--raw", repository_identity.PATH, content=content)
        found = await _found(program, configuration)
    return found


async def _found(program: BackupProgram, configuration: Path) -> str:
    path = repository_identity.PATH
    return repository_identity.parsed(
        await _run(program, configuration, "repo-get", "--raw", "--ignore-missing", path)
    )


async def _run(
    program: BackupProgram, configuration: Path, *arguments: str, content: bytes | None = None
) -> str:
    return await program.run(configuration, configuration.parent, "", *arguments, content=content)
