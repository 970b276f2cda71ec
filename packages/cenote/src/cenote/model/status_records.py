"""What an agent reports of a node."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cenote.model.adoption import Found
from cenote.model.backups import BackupReport
from cenote.model.by_sql import NOTHING, BySql
from cenote.model.event_records import Note
from cenote.model.migrations import MigrationReport
from cenote.model.record import Record
from cenote.model.restores import Restored


class DiskUse(Record, frozen=True, kw_only=True):
    """The size of a node's data, and the free space and size of the disk that it is on."""

    used_mib: int
    free_mib: int
    disk_mib: int


class ReportedNote(Record, frozen=True, kw_only=True):
    """A change that an agent made by itself, to become the event of this id."""

    id: str
    at: datetime
    note: Note


class SettingLimits(Record, frozen=True, kw_only=True):
    """What a server takes for a setting, where that is less than is offered; in the units of the API."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None


class Standby(Record, frozen=True, kw_only=True):
    """How far a standby is: whether it receives, and the position in the WAL up to which it has replayed.

    It is ``behind`` by so many bytes that the other server had written, and what it replayed last was
    committed ``seconds`` ago; None while that is not known.
    """

    streaming: bool
    replayed: int  # bytes
    behind: int = 0
    seconds: float | None = None


class UpgradeReport(Record, frozen=True, kw_only=True):
    """How far the upgrade to another major version is that a record asks for.

    ``asked_at`` tells which one; ``refused`` is why it is not made, in words, and then the former server
    works as before.  ``done``: nothing is left to do.  For ``held_ms`` no server took queries.

    ``stage`` is that of the upgrade of this node's data, "" before; of one of several nodes that rests
    meanwhile ``resting``, as soon as its server has ended.  ``checked``: nothing is in the way, and the
    server can be stopped.  ``system`` is the system identifier of the node's data, "" without any.
    ``to_reindex`` are collations by whose indexes the new server sorts otherwise, in words.
    """

    asked_at: datetime
    refused: str = ""
    done: bool = False
    held_ms: int = 0
    stage: str = ""
    checked: bool = False
    system: str = ""
    to_reindex: tuple[str, ...] = ()


class RehearsalReport(Record, frozen=True, kw_only=True):
    """What the agent has seen of a fork that an upgrade is rehearsed on.

    ``counts`` are how much of what is in its databases, by what it is, when they had that ``version``.  With
    ``is_checked`` they have the new version, and ``findings`` are what is wrong with them.
    """

    version: str
    counts: dict[str, int] = {}
    is_checked: bool = False
    findings: tuple[str, ...] = ()


class PendingRestart(Record, frozen=True, kw_only=True):
    """What a restart of a node's server, which is due, would bring.

    ``settings`` by their names, ``update``: its program was replaced.  Of the settings of which a standby
    must have as much as the writer, ``grows`` get more by the restart, and ``shrinks`` less.
    """

    settings: tuple[str, ...] = ()
    update: bool = False
    grows: tuple[str, ...] = ()
    shrinks: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        return ", ".join((*self.settings, *(["an update"] if self.update else [])))


class NodeStatus(Record, frozen=True, kw_only=True):
    """An agent's report on one node.

    ``reached`` is the revision of the record that was carried out, 0 until the node has worked for the first
    time.  ``reason`` says in words what is waited for or what failed; it is empty when nothing is left to do.
    ``settings`` are the settings in force as the server reports them, each with its unit.  ``size``,
    ``region`` and ``storage_mib`` are those in force.  ``outdated`` names the servers whose programs were
    replaced since they were started; ``use`` is the disk use of the data.  ``not_in_force`` are the settings
    that wait for a restart, each with the urgency of that.  ``limits`` are of settings of which the server
    takes less than is offered.  ``refused`` has the settings that the server does not accept, each with the
    value that was written to its file, and is left out there until another one is chosen.

    ``tried`` is the revision that the last pass began with, ``failed`` has the parts that it could not bring
    about, each with the reason, and ``ahead`` those that it has not got to: it waits, or is under way.  All
    other parts are as that revision wants them.

    ``run`` is that of the agent (see ``Presence``): the report of an agent that has ended says what was.
    ``waiting``: something on the machine is waited for.  ``stopped`` names the servers that did not run,
    ``unresponsive`` those that ran and did not answer.  ``since``: when the health that follows began.
    ``notes`` are the newest changes that the agent made by itself.  ``removed`` reports that nothing is left
    of a node whose cluster is deleted; ``removed_for`` is when that was, ``kept`` whether its data is in the
    host's trash.

    ``reached`` does not cover removals: of those in the record, ``gone`` are the ids of those whose user or
    database is no longer on the server, ``remaining`` says for an id why the last attempt to drop it failed.
    ``by_sql`` is what SQL has changed of what the record says.

    ``standby`` is how far a node that follows another one is.  ``ended_at`` is the position in the WAL at
    which the server of a node that gives up writing was shut down, in bytes, 0 while it was not.  ``clients``
    are the connections of customers to its pooler; they are known once it ``leads_on``, which is to the node
    that has taken over; for ``held_ms`` they had waited for that.  ``logical_slots`` are customers' own,
    which no standby has.  ``slot_lost``: WAL is gone that a node that follows this one had not received.
    ``copied_mib`` is what a node that follows has of the other one's data.

    ``backups`` is what the host knows of the cluster's backups, None where it keeps none.

    ``data_version`` is the major version of the node's data, "" if it is not known.  ``major_upgrade`` is the
    last upgrade of it that was worked on.
    Of the node that takes writes, ``followers`` are those that receive what it writes, and ``quorum`` those
    of which each commit waits for one, as its server says.  ``held_for`` is the attempt at a planned switch
    that the host holds its pools for, and ``ready_for`` the one that the writer has prepared.  ``free_for``
    is the one for which no transaction in the host's pools has been open for long, and ``busy_seconds`` for
    how long one has, in steps.  ``led_to`` is the node that the host's pools lead to, since they were held
    last; "" while they are held.
    ``restart`` is that of a node of several whose server is to be restarted, None while none is due;
    ``restarted_for`` is the attempt at a restart of the writer in its place that was carried out.

    ``backups`` is what the host knows of the cluster's backups, None where it keeps none.  ``found`` is what
    the server has and the record has not, None for nothing.  ``restored`` is what the node's data were
    restored from, until the record does not ask for it any more.  ``data_missing``: the node was online
    once, and its data directory is not there.  ``migration`` is how far the last online migration is that the
    host has worked on.

    Of a read replica, ``copy`` is the number of the copy of its source's data that it has, 0 without any;
    ``wal_gone``: its source does not have the WAL any more that it needs next.  Of a node that takes writes,
    ``lost_slots`` are those of read replicas for which it has not kept the WAL that they need.
    ``rehearsal`` is of a fork that an upgrade is rehearsed on.
    """

    reached: int
    reason: str = ""
    failing: bool = False
    at: datetime
    run: str = ""
    settings: dict[str, str] = {}
    size: str = ""
    region: str = ""
    storage_mib: int = 0
    outdated: tuple[str, ...] = ()
    used_mib: int = 0
    use: DiskUse | None = None
    notes: tuple[ReportedNote, ...] = ()
    removed: bool = False
    removed_for: datetime | None = None
    kept: bool = False
    not_in_force: dict[str, str] = {}
    waiting: bool = False
    stopped: tuple[str, ...] = ()
    tried: int = 0
    failed: dict[str, str] = {}
    ahead: tuple[str, ...] = ()
    limits: dict[str, SettingLimits] = {}
    refused: dict[str, str] = {}
    gone: tuple[UUID, ...] = ()
    remaining: dict[str, str] = {}
    unresponsive: tuple[str, ...] = ()
    since: datetime | None = None
    by_sql: BySql = NOTHING
    standby: Standby | None = None
    ended_at: int = 0
    clients: int = 0
    logical_slots: tuple[str, ...] = ()
    leads_on: bool = False
    held_ms: int = 0
    slot_lost: bool = False
    copied_mib: int = 0
    backups: BackupReport | None = None
    data_version: str = ""
    major_upgrade: UpgradeReport | None = None
    found: Found | None = None
    restored: Restored | None = None
    data_missing: bool = False
    copy: int = 0
    wal_gone: bool = False
    lost_slots: tuple[str, ...] = ()
    quorum: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()
    led_to: str = ""
    held_for: str = ""
    ready_for: str = ""
    free_for: str = ""
    busy_seconds: int = 0
    restart: PendingRestart | None = None
    restarted_for: str = ""
    migration: MigrationReport | None = None
    rehearsal: RehearsalReport | None = None
