"""How a host keeps backups: what ``--backups`` says, and the program that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cenote.model.backups import Repository
from cenote.model.record import Secret


@dataclass(frozen=True, slots=True)
class HostBackups:
    """``program`` is None where pgBackRest is missing, ``newest`` the newest major version that it reads.

    ``open`` opens a passphrase that a cluster's record has sealed.  ``lack`` is what this pgBackRest lacks
    for the repository, in words.  ``is_default``: nobody has said where backups are to be kept.
    ``on_disk_of_data``: the repository is a directory there, and nothing is put into it while less than
    ``least_free_mib`` are free.  Every ``drill_days`` a backup of each cluster is restored aside and checked;
    0: only when it is asked for.
    """

    repository: Repository
    days: int
    program: Path | None
    newest: int
    credentials: Mapping[str, Secret] = field(repr=False)
    open: Callable[[str], Secret] = field(repr=False)
    lack: str = ""
    is_default: bool = False
    on_disk_of_data: bool = False
    least_free_mib: int = 0
    drill_days: int = 7

    def hindrance(self, major: str) -> str:
        """Return why clusters of a major version of PostgreSQL get no backups here, or ""."""
        if self.program is None:
            return "pgBackRest is not installed on its host"
        if self.lack:
            return f"its host's {self.lack}"
        if int(major) > self.newest:
            return f"its host's pgBackRest reads PostgreSQL up to {self.newest}, and this is {major}"
        return ""
