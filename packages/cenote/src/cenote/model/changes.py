"""What may be done to a machine, as data.

``plan`` functions yield these; ``host`` carries them out and decides nothing.  Each may be repeated:
doing one twice leaves the machine as doing it once.  None shows a secret in its ``repr``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cenote.model.records import CertificateAuthority

if TYPE_CHECKING:
    # A command line that only names a program's files need not wait for a database driver.
    from psycopg.sql import SQL, Composed


@dataclass(frozen=True, slots=True)
class Program:
    """A server process: how it is started, and how it is recognised later by whoever did not start it.

    A process is this one when the pid file names it and its working directory is ``directory``.
    """

    name: str
    argv: tuple[str, ...] = field(repr=False)
    directory: Path = field(repr=False)
    pid_file: Path = field(repr=False)
    log: Path = field(repr=False)
    stamp: Path = field(repr=False)
    stop_signal: signal.Signals = field(repr=False)
    kill_after: float = field(default=60.0, repr=False)  # seconds between the polite signal and SIGKILL


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    path: Path
    mode: int = 0o700


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Replace a whole file at once: readers see the old one or the new one."""

    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or a folder with all that is in it."""

    path: Path


@dataclass(frozen=True, slots=True)
class ShortenLog:
    """Give the space of the first ``keep_from`` bytes of a log back, as a hole.

    On a file system without holes a log is moved to ``.1`` whole, of which the newest ``kept`` bytes stay,
    and emptied; with None it is left as it is.
    """

    path: Path
    keep_from: int
    kept: int | None


@dataclass(frozen=True, slots=True)
class CopyTemplate:
    """Make a data directory out of the template of a major version; it is there whole or not at all."""

    version: str
    target: Path


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Sign a certificate with the cluster's CA, for these names, and write it with its key into one file."""

    path: Path
    names: tuple[str, ...]
    authority: CertificateAuthority = field(repr=False)


@dataclass(frozen=True, slots=True)
class Start:
    """Start a program on the configuration whose digest this is."""

    program: Program
    digest: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Have a running program read its configuration again, and leave a stamp that says which it has read."""

    program: Program
    digest: str


@dataclass(frozen=True, slots=True)
class Stop:
    program: Program


@dataclass(frozen=True, slots=True)
class Restart:
    """End a server and start it again while its pooler holds the clients.

    The pooler is left paused: it goes on by ``Resume``, once the server is ready.  Clients that are in a
    transaction have ``patience`` seconds to come to its end.
    """

    program: Program
    pooler: Program
    digest: str
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Resume:
    """Have a paused pooler serve its clients again."""

    pooler: Program


@dataclass(frozen=True, slots=True)
class EndProcesses:
    """Kill whatever works in a folder or below it, or only the processes of one program file there."""

    directory: Path
    executable: str | None = None


@dataclass(frozen=True, slots=True)
class Sql:
    """Statements for one database, as the server's own superuser; ``summary`` is what may be shown of them.

    They run in one transaction, unless ``atomic`` is off (some statements refuse to be in one).
    """

    database: str
    summary: str
    statements: tuple[SQL | Composed, ...] = field(repr=False)
    atomic: bool = True


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End these clients of the pooler, by its own numbers for them; one that has left is passed over."""

    clients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done until the machine has got further; ``reason`` says in words with what."""

    reason: str


Change: TypeAlias = (
    MakeDirectory
    | WriteFile
    | Remove
    | ShortenLog
    | CopyTemplate
    | IssueCertificate
    | Start
    | Reload
    | Stop
    | Restart
    | Resume
    | EndProcesses
    | Sql
    | Disconnect
    | Wait
)
Plan: TypeAlias = Iterator[Change]
