"""Changes to a machine, as data.

``plan`` functions yield these; ``host/executor.py`` carries them out and decides nothing.  Each is
idempotent.  None shows a secret in its ``repr``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from cenote.model.record import Secret
from cenote.model.records import RemovalKind
from cenote.model.trash import TrashNote

if TYPE_CHECKING:
    # Commands that only need a program's paths start faster without the database driver.
    from psycopg.sql import SQL, Composed


@dataclass(frozen=True, slots=True)
class Program:
    """A server program: how it is started, and how a running process of it is identified.

    A process belongs to it when the pid file names it and its working directory is ``directory``.
    """

    name: str
    argv: tuple[str, ...] = field(repr=False)
    directory: Path = field(repr=False)
    pid_file: Path = field(repr=False)
    log: Path = field(repr=False)
    stamp: Path = field(repr=False)
    stop_signal: signal.Signals = field(repr=False)
    kill_after: float = field(default=60.0, repr=False)  # seconds between the stop signal and SIGKILL


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Have a directory with this mode, user and group; None for our own."""

    path: Path
    mode: int = 0o700
    owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Replace a file atomically.

    ``for_servers``: it belongs to the servers' account, which reads it; else to us.  ``durable``: it is on
    disk before anything else is done, which what is compared with the record before each start does not need.
    """

    path: Path
    content: bytes = field(repr=False)
    mode: int = 0o600
    for_servers: bool = field(default=True, repr=False)
    durable: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file, or a folder with all that is in it."""

    path: Path


@dataclass(frozen=True, slots=True)
class RemoveMark:
    """Remove a file by which a program has told something; ``told`` is that in words, for an event."""

    path: Path
    told: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Move files and folders to the trash, with a note."""

    paths: tuple[Path, ...]
    note: TrashNote


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a folder of the servers another name in the same place, unless that is taken."""

    source: Path
    target: Path


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
    """Copy a data directory from the template of a major version, atomically."""

    version: str
    target: Path


@dataclass(frozen=True, slots=True)
class MakeEmptyData:
    """Make a data directory without a cluster's objects, as ``pg_upgrade`` wants it.

    ``statements`` are run in its ``template0``, of which all databases become copies; ``files`` are written
    into it, by name.
    """

    version: str
    target: Path
    statements: tuple[str, ...] = field(default=(), repr=False)
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SqlAlone:
    """SQL statements for one database of a server that does not run, in single-user mode.

    Each is one without an empty line in it; ``summary`` is what logs may show.
    """

    version: str
    data: Path
    database: str
    summary: str
    statements: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Give each of two folders in the same place the name of the other, at once."""

    first: Path
    second: Path


@dataclass(frozen=True, slots=True)
class RequestCertificate:
    """Make a private key, ask the controller for a certificate for it, and keep the key in a file."""

    cluster_id: UUID
    key: Path


@dataclass(frozen=True, slots=True)
class Start:
    """Start a program; ``digest`` is of the configuration that it will load."""

    program: Program
    digest: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Reload the configuration of a running program, and leave a stamp with its digest."""

    program: Program
    digest: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Have Patroni's shared configuration of a cluster in the store, which all of its nodes follow.

    ``password`` is that of Patroni's login to the store, None where it wants none.
    """

    cluster_id: UUID
    content: bytes = field(repr=False)
    password: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Stop:
    program: Program


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart a server behind its paused pooler.

    The pooler stays paused until ``Resume``, and at most for as long as ``model.pauses`` allows.  Open
    transactions get ``patience`` seconds to end.
    """

    program: Program
    pooler: Program
    digest: str
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class RestartByPatroni:
    """Ask Patroni of a node, which answers at an address of its host, to restart the node's server.

    ``writes``: only while it takes writes, else only while it stands by.  ``node`` and ``why`` are for the
    event.  It goes on when the change is done, and asking again meanwhile changes nothing.
    """

    program: Program
    address: str
    certificate: Path
    writes: bool
    node: str
    why: str
    for_update: bool = False


@dataclass(frozen=True, slots=True)
class HoldPools:
    """Hold the clients of a pooler, for a switch to another node, until ``Resume``.

    They are held when their transactions have ended, which has to be within ``patience`` seconds.  If it is
    not, and ``or_none``, none are held; ``anyway``, each is held once its transactions have ended.  After
    ``cut`` seconds, if there is such a limit, the clients of those that go on are disconnected.  It can be
    done again, which prolongs the hold.
    """

    pooler: Program
    why: str
    pools: tuple[str, ...]
    patience: float = 0.8
    or_none: bool = False
    anyway: bool = False
    cut: float | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume a pooler whose pause is the agent's, over, or nobody's."""

    pooler: Program


@dataclass(frozen=True, slots=True)
class EndProcesses:
    """End all processes that work in a folder or below it, or only those of one program file."""

    directory: Path
    executable: str | None = None


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL statements for one database, run as superuser; ``summary`` is what logs and errors may show.

    They run in one transaction, unless ``atomic`` is off (some statements refuse to be in one).
    """

    database: str
    summary: str
    statements: tuple[SQL | Composed, ...] = field(repr=False)
    atomic: bool = True


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End clients of the pooler, by its ids for them; clients that have left are ignored."""

    clients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """The pass has to wait for the machine; ``reason`` says in words for what.

    ``often``: clients are held meanwhile, so it is looked at every few milliseconds.  ``at_once``: somebody
    waits for the reason itself, and what happens next wakes the node.  ``now``: what the changes before have
    made true of what the node reports.
    """

    reason: str
    often: bool = False
    at_once: bool = False
    now: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refuse:
    """The pass fails, and nothing that follows is done; ``reason`` says in words why."""

    reason: str


Change: TypeAlias = (
    MakeDirectory
    | WriteFile
    | Remove
    | RemoveMark
    | Discard
    | Rename
    | ShortenLog
    | CopyTemplate
    | MakeEmptyData
    | SqlAlone
    | Exchange
    | RequestCertificate
    | Start
    | Reload
    | Publish
    | Stop
    | Restart
    | RestartByPatroni
    | HoldPools
    | Resume
    | EndProcesses
    | Sql
    | Disconnect
    | Wait
    | Refuse
)
Plan: TypeAlias = Iterator[Change]


@dataclass(frozen=True, slots=True)
class Drop:
    """The changes of one step of dropping a user or database; their failure holds up no other drop."""

    kind: RemovalKind
    name: str
    changes: tuple[Change, ...]


DropPlan: TypeAlias = Iterator[Drop]
