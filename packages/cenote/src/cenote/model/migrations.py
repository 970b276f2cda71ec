"""Online migrations: another server's databases are copied into a cluster, and follow until that is over."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from cenote.model.record import Record

ROLE = "cenote_migration"  # owns what is copied until the migration is over, and is no superuser


class MigrationStatus(StrEnum):
    """``RUNNING``: the first copy is made.  ``SYNCING``: changes follow.  The others are its end."""

    RUNNING = "running"
    SYNCING = "syncing"
    CANCELED = "canceled"
    ERROR = "error"
    DONE = "done"


ENDS = frozenset({MigrationStatus.CANCELED, MigrationStatus.ERROR, MigrationStatus.DONE})


class Method(StrEnum):
    """``LOGICAL``: rows are copied and follow by logical replication.  ``DUMP``: they are copied once."""

    LOGICAL = "logical"
    DUMP = "dump"


class Wish(StrEnum):
    """How a migration is to end.

    ``FINISH``: once the cluster has all that the source had when it was asked for.  ``STOP``: with what there
    is, or, before the first copy is complete, as ``CANCEL``, which removes what was copied.
    """

    NONE = ""
    FINISH = "finish"
    STOP = "stop"
    CANCEL = "cancel"


class Step(StrEnum):
    """How far one database is."""

    WAITING = "waiting"
    SCHEMA = "schema"
    COPYING = "copying"
    INDEXES = "indexes"
    SYNCING = "syncing"
    FINISHING = "finishing"
    DONE = "done"


class MigrationSource(Record, frozen=True, kw_only=True):
    """The server that is copied from.  Ring ``host`` has sealed the password, which goes at the end."""

    host: str
    port: int
    dbname: str
    username: str
    sealed_password: str
    tls: bool = True

    def __repr__(self) -> str:
        return f"MigrationSource(host={self.host!r}, port={self.port}, username={self.username!r})"


class DatabaseProgress(Record, frozen=True, kw_only=True):
    """How far a database is: tables whose rows are there, and the bytes of changes that are not yet.

    ``bytes`` is its size on the source, ``copied_bytes`` here.  For ``lag_seconds`` it has not had all that
    the source has.  A lag is None while it is not known.
    """

    name: str
    step: Step = Step.WAITING
    tables: int = 0
    copied: int = 0
    bytes: int = 0
    copied_bytes: int = 0
    lag_bytes: int | None = None
    lag_seconds: float | None = None


class MigrationReport(Record, frozen=True, kw_only=True):
    """What an agent says of the migration ``id``: how far it is, and in words what hinders it.

    ``warnings`` are what the customer should know, such as roles without a password.  ``ready``: all is
    there, and the databases can be opened to customers.
    """

    id: UUID
    status: MigrationStatus = MigrationStatus.RUNNING
    reason: str = ""
    warnings: tuple[str, ...] = ()
    databases: tuple[DatabaseProgress, ...] = ()
    ready: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in ENDS


class OnlineMigration(Record, frozen=True, kw_only=True):
    """A migration as it is asked for, and once it is over, in ``outcome`` how it has ended.

    ``databases`` are closed to customers until they are ``opened``.  ``full_identity``: tables without a key
    get the replica identity FULL on the source meanwhile.  ``warnings`` are what the checks have found.
    """

    id: UUID
    source: MigrationSource
    asked_at: datetime
    method: Method = Method.LOGICAL
    databases: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    full_identity: bool = False
    warnings: tuple[str, ...] = ()
    wish: Wish = Wish.NONE
    wished_at: datetime | None = None
    opened: bool = False
    outcome: MigrationReport | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome is not None
