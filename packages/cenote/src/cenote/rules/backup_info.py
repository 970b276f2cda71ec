"""What ``pgbackrest info --output=json`` says of one stanza, and its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from cenote.model.backups import Backup, BackupType

LONGEST = 300  # characters of an error
MOST = 200  # backups in a report
_ERROR = re.compile(r"(?:P\d+ +)?ERROR: \[(\d{3})\]: (.+)")
_CAUSE = re.compile(r"^\s*(repo1: )?(\[\w+\]|\w+Error:) ")
_COPY = re.compile(r" or '[^']+\.copy'")
LABEL = "^[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?$"  # names the folder of a backup
ALREADY_RUNNING = 50  # pgBackRest's code: it cannot have the lock
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_UNREADABLE = re.compile(r"unable to load info file \S+ or \S+")
_NO_STANZA = (1, 3)  # missing stanza path, missing stanza data


class _Timestamps(msgspec.Struct):
    start: int
    stop: int


class _Repository(msgspec.Struct):
    delta: int = 0


class _Sizes(msgspec.Struct):
    size: int
    repository: _Repository


class _Database(msgspec.Struct):
    id: int = 0


class _Range(msgspec.Struct):
    start: str | None = None


class _Backup(msgspec.Struct):
    label: str
    type: BackupType
    timestamp: _Timestamps
    info: _Sizes
    error: bool | None = None
    archive: _Range = msgspec.field(default_factory=_Range)
    database: _Database = msgspec.field(default_factory=_Database)


class _Lock(msgspec.Struct):
    held: bool = False
    size: int | None = None
    done: int | None = msgspec.field(default=None, name="size-cplt")


class _Locks(msgspec.Struct):
    backup: _Lock = msgspec.field(default_factory=_Lock)


class _Status(msgspec.Struct):
    code: int
    message: str
    lock: _Locks = msgspec.field(default_factory=_Locks)


class _RepositoryStatus(msgspec.Struct):
    status: _Status


class _Archive(msgspec.Struct):
    id: str = ""
    max: str | None = None
    database: _Database = msgspec.field(default_factory=_Database)


class _Stanza(msgspec.Struct):
    name: str
    status: _Status
    archive: list[_Archive] = []
    backup: list[_Backup] = []
    db: list[dict[str, Any]] = []
    repo: list[_RepositoryStatus] = []


class _BackupAlone(msgspec.Struct):
    tablespace: list[Any] | None = None


class _StanzaOfOne(msgspec.Struct):
    backup: list[_BackupAlone] = []


@dataclass(frozen=True, slots=True)
class Archive:
    """The WAL that goes with a backup: its folder in the archive, which is one for each major version.

    ``first`` is the first segment that the backup needs, ``newest`` the newest one that there is; "" for
    none.
    """

    folder: str = ""
    first: str = ""
    newest: str = ""


@dataclass(frozen=True, slots=True)
class Info:
    """``is_made``: the repository has the stanza.  ``progress`` is of a running backup, in percent.

    ``version`` is the major version of PostgreSQL that it takes WAL of, "" if not known.
    ``problem`` is why the repository could not be read, "" if it could.  ``archives`` are by the labels
    of the backups.
    """

    is_made: bool
    backups: tuple[Backup, ...] = ()
    progress: float | None = None
    problem: str = ""
    version: str = ""
    archives: Mapping[str, Archive] = field(default_factory=dict)


def parse(text: str, stanza: str) -> Info:
    """Return what the output says of the stanza; ValueError when it is none of pgBackRest's."""
    try:
        # What it could not decrypt stands in its message as it is.
        stanzas = msgspec.json.decode(_CONTROL.sub(" ", text), type=list[_Stanza])
    except msgspec.DecodeError as error:
        raise ValueError(f"pgBackRest said something else than expected: {error}") from None
    found = next((one for one in stanzas if one.name == stanza), None)
    if found is None:
        return Info(is_made=False)
    lock = found.status.lock.backup
    progress = round(100 * (lock.done or 0) / lock.size, 1) if lock.held and lock.size else None
    code, message = _code(found)
    versions = {one.get("id"): str(one.get("version", "")) for one in found.db}
    every = (_backup(one, versions.get(one.database.id, "")) for one in found.backup)
    backups = tuple(sorted(every, key=lambda one: one.stopped_at))
    problem = _in_words(message) if code not in (0, 1, 2, 3, 4) else ""
    return Info(
        is_made=code not in _NO_STANZA,
        backups=backups,
        progress=progress,
        problem=problem,
        version=str(found.db[-1].get("version", "")) if found.db else "",
        archives={one.label: _archive(found, one) for one in found.backup},
    )


def has_tablespaces(text: str) -> bool:
    """Return whether the output, of one backup, names tablespaces that lie outside of the data."""
    try:
        stanzas = msgspec.json.decode(_CONTROL.sub(" ", text), type=list[_StanzaOfOne])
    except msgspec.DecodeError:
        return False  # such as of a damaged manifest, which the restore itself tells
    return any(backup.tablespace for stanza in stanzas for backup in stanza.backup)


def reported(backups: tuple[Backup, ...]) -> tuple[Backup, ...]:
    """Return what a report has of many backups, all of which the store would not take.

    The oldest and the newest ones, and the last full one, which decides what is due.
    """
    if len(backups) <= MOST:
        return backups
    oldest, newest = backups[: MOST // 2], backups[-MOST // 2 :]
    between = backups[len(oldest) : -len(newest)]
    full = [one for one in between if one.type is BackupType.FULL][-1:]
    return (*oldest, *full, *newest)


def is_label(name: str) -> bool:
    return re.fullmatch(LABEL, name) is not None


class _File(msgspec.Struct):
    size: int = 0


def bytes_of(text: str) -> int:
    """Return the size of all files that ``repo-ls --output=json`` has printed; ValueError for other text."""
    try:
        return sum(file.size for file in msgspec.json.decode(text, type=dict[str, _File]).values())
    except msgspec.DecodeError as error:
        raise ValueError(f"pgBackRest said something else than expected: {error}") from None


def error_of(output: str) -> tuple[int, str]:
    """Return code and message of the first error in what a command has printed; (0, "") without one."""
    lines = iter(output.splitlines())
    for line in lines:
        match = _ERROR.search(line)
        if match is not None:
            # A line that ends in a colon says what was tried, and the next one why that failed.
            told = [match[2]]
            while told[-1].endswith(":") and (cause := next(lines, "")) and "***" not in cause:
                told.append(_CAUSE.sub("", cause).rstrip())
            return int(match[1]), _in_words(": ".join(map(_shortened, told[-2:])))
    return 0, ""


def _shortened(line: str) -> str:
    """Return a line without the name of a copy; what was decrypted with a wrong key is in no alphabet."""
    line = _COPY.sub("", line.removesuffix(":"))
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in line)


def _code(stanza: _Stanza) -> tuple[int, str]:
    """Return the status of the only repository; that of the stanza sums up several."""
    status = stanza.repo[0].status if stanza.repo else stanza.status
    return status.code, status.message


def _archive(stanza: _Stanza, backup: _Backup) -> Archive:
    mine = (one for one in stanza.archive if one.database.id == backup.database.id)
    found = next(mine, _Archive())
    return Archive(found.id, backup.archive.start or "", found.max or "")


def _backup(one: _Backup, version: str) -> Backup:
    return Backup(
        label=one.label,
        type=one.type,
        started_at=datetime.fromtimestamp(one.timestamp.start, UTC),
        stopped_at=datetime.fromtimestamp(one.timestamp.stop, UTC),
        size=one.info.size,
        repository_size=one.info.repository.delta,
        damaged=bool(one.error),
        version=version,
    )


def _in_words(message: str) -> str:
    unreadable = _UNREADABLE.search(message)
    if unreadable is not None and ("CryptoError" in message or "FormatError" in message):
        return f"{unreadable[0].rstrip(':')}: is the passphrase correct?"
    line = " ".join(message.split())
    match = _ERROR.search(line)
    return (match[2] if match else line)[:LONGEST]
