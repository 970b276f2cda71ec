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
_DETAIL = re.compile(r"^\s*repo1: \[\w+\] ")  # before what a message that ends in a colon goes on with
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


class _Range(msgspec.Struct):
    start: str | None = None


class _Backup(msgspec.Struct):
    label: str
    type: BackupType
    timestamp: _Timestamps
    info: _Sizes
    error: bool | None = None
    archive: _Range = msgspec.field(default_factory=_Range)


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
    max: str | None = None


class _Stanza(msgspec.Struct):
    name: str
    status: _Status
    archive: list[_Archive] = []
    backup: list[_Backup] = []
    db: list[dict[str, Any]] = []
    repo: list[_RepositoryStatus] = []


@dataclass(frozen=True, slots=True)
class Info:
    """``is_made``: the repository has the stanza.  ``progress`` is of a running backup, in percent, if known.

    ``problem`` is why the repository could not be read, "" if it could.  ``newest_wal`` is the newest segment
    in the archive, "" for none, ``first_wal`` the first one that a backup needs, by its label.
    """

    is_made: bool
    backups: tuple[Backup, ...] = ()
    progress: float | None = None
    problem: str = ""
    newest_wal: str = ""
    first_wal: Mapping[str, str] = field(default_factory=dict)


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
    backups = tuple(sorted((_backup(one) for one in found.backup), key=lambda one: one.stopped_at))
    problem = _in_words(message) if code not in (0, 1, 2, 3, 4) else ""
    return Info(
        is_made=code not in _NO_STANZA,
        backups=backups,
        progress=progress,
        problem=problem,
        first_wal={one.label: one.archive.start or "" for one in found.backup},
        newest_wal=max((one.max or "" for one in found.archive), default=""),
    )


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


def error_of(output: str) -> tuple[int, str]:
    """Return code and message of the first error in what a command has printed; (0, "") without one."""
    lines = output.splitlines()
    for number, line in enumerate(lines):
        match = _ERROR.search(line)
        if match is not None:
            more = " ".join(lines[number + 1 : number + 2]) if match[2].endswith(":") else ""
            return int(match[1]), _in_words(f"{match[2]} {_DETAIL.sub('', more)}")
    return 0, ""


def _code(stanza: _Stanza) -> tuple[int, str]:
    """Return the status of the only repository; that of the stanza sums up several."""
    status = stanza.repo[0].status if stanza.repo else stanza.status
    return status.code, status.message


def _backup(one: _Backup) -> Backup:
    return Backup(
        label=one.label,
        type=one.type,
        started_at=datetime.fromtimestamp(one.timestamp.start, UTC),
        stopped_at=datetime.fromtimestamp(one.timestamp.stop, UTC),
        size=one.info.size,
        repository_size=one.info.repository.delta,
        damaged=bool(one.error),
    )


def _in_words(message: str) -> str:
    unreadable = _UNREADABLE.search(message)
    if unreadable is not None and ("CryptoError" in message or "FormatError" in message):
        return f"{unreadable[0].rstrip(':')}: is the passphrase correct?"
    line = " ".join(message.split())
    match = _ERROR.search(line)
    return (match[2] if match else line)[:LONGEST]
