"""Backups: where they are kept, and what an agent reports of those of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

import msgspec


class RepositoryKind(StrEnum):
    FILE = "file"
    S3 = "s3"
    SFTP = "sftp"


@dataclass(frozen=True, slots=True)
class Repository:
    """Where backups and WAL are kept: a directory, here or of an SFTP server, or a bucket and the path in it.

    No secret is in it.  Of a bucket, ``endpoint`` is its service's host, with or without a port.
    ``by_path``: the bucket is named in the path of a request and not in its host name.  ``authority`` is a
    file with the CA of the endpoint's certificate, "" for the system's.  Of an SFTP server, ``endpoint`` is
    the host, with or without a port, and ``user`` who logs in.  Its host key is known by its SHA-256, in
    hexadecimal (``fingerprint``), or stands in the file ``known_hosts``.
    """

    kind: RepositoryKind
    path: PurePosixPath
    bucket: str = ""
    endpoint: str = ""
    region: str = ""
    by_path: bool = False
    authority: str = ""
    user: str = ""
    fingerprint: str = ""
    known_hosts: str = ""

    @property
    def in_words(self) -> str:
        if self.kind is RepositoryKind.FILE:
            return f"file://{self.path}"
        if self.kind is RepositoryKind.SFTP:
            return f"sftp://{self.user}@{self.endpoint}{self.path}"
        return f"s3://{self.bucket}{'' if self.path == PurePosixPath('/') else self.path}"


class BackupType(StrEnum):
    """Whole, or the difference to the last full one, or to the last one of any type."""

    FULL = "full"
    DIFFERENTIAL = "diff"
    INCREMENTAL = "incr"


class Backup(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A complete backup; ``size`` is of the database, ``repository_size`` what this one added, in bytes.

    ``damaged``: pages whose checksums are wrong were found as it was made.  ``version`` is the major version
    of PostgreSQL, "" if an earlier version of the agent has reported it.
    """

    label: str
    type: BackupType
    started_at: datetime
    stopped_at: datetime
    size: int
    repository_size: int
    damaged: bool = False
    version: str = ""


class Archived(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a repository has of a cluster, as a host reads it; the oldest of ``backups`` is the first.

    ``archived_at`` is when its newest WAL was written there, None without any.  ``lineage`` is the newest
    mark of those who may archive, "" without any.
    """

    repository: str
    backups: tuple[Backup, ...] = ()
    archived_at: datetime | None = None
    lineage: str = ""

    @property
    def version(self) -> str:
        """The major version of the newest backup, "" if that is not known."""
        return self.backups[-1].version if self.backups else ""


class Drill(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A backup that was restored aside and checked; ``failure`` says what was wrong, "" if nothing was.

    ``check`` names what has found it (``rules.drills.Check``).
    """

    label: str
    started_at: datetime
    ended_at: datetime
    check: str = ""
    failure: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, (self.ended_at - self.started_at).total_seconds())


class Loss(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """WAL that was dropped unarchived, at last at ``at``; until a full backup that begins later.

    All up to ``since`` is archived; None if it is not known up to when.
    """

    at: datetime
    since: datetime | None = None


class BackupReport(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an agent knows of the backups of a node's cluster; the oldest of ``backups`` is the first.

    ``archived_at`` is when WAL was archived last.  ``unarchived`` is why it is not archived now, in words,
    and "" if it is.  ``running`` is the type of the backup that is being made, of which ``progress`` percent
    are done, where that is known.  ``failure`` says why the last attempt failed, "" after a success.
    ``gap_at`` is when WAL was dropped unarchived last, until a later backup begins a new chain; ``losses``
    are all that moments of the backups can lie in, the oldest first.
    ``impossible`` is why no backup can be made here at all, which is no fault where nobody has asked for any
    (``by_default``).  ``repository`` is where ``backups`` are.  Of very many, the oldest and the newest are
    told.

    ``drill`` is the last restore drill that has come to a result.  ``drilling`` says in words how far the one
    is that is under way, ``undrilled`` why the last attempt came to no result, "" after one that did.
    """

    backups: tuple[Backup, ...] = ()
    archived_at: datetime | None = None
    unarchived: str = ""
    running: BackupType | None = None
    progress: float | None = None
    failure: str = ""
    failed_at: datetime | None = None
    gap_at: datetime | None = None
    losses: tuple[Loss, ...] = ()
    impossible: str = ""
    by_default: bool = False
    archive_bytes: int | None = None  # what its WAL takes in the repository, as of the last backup
    repository: str = ""
    drill: Drill | None = None
    drilling: str = ""
    undrilled: str = ""
    undrilled_at: datetime | None = None

    @property
    def hindrance(self) -> str:
        """Why no backup can be made although somebody has asked for them, or ""."""
        return "" if self.by_default else self.impossible

    @property
    def restorable_from(self) -> datetime | None:
        """The oldest moment that can be restored; None before the first backup."""
        return self.backups[0].stopped_at if self.backups else None

    @property
    def repository_bytes(self) -> int:
        """What the backups take in the repository, without the WAL between them."""
        return sum(backup.repository_size for backup in self.backups)
