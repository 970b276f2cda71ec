"""What is in the way of an online migration, which way it goes, and what the customer should know.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cenote.model.migrations import Method
from cenote.rules import names

_SUPERUSER = "postgres"  # also its database, which each server has for itself
_TEMPLATES = ("template0", "template1")  # what is in one would be in each new database
OLDEST = 12  # major version of a source
MOST_DATABASES = 200  # of a migration; each takes a slot on the source, and is in the cluster's record
_SHOWN = 5  # names in a message
_MOST_REMARKS, _MOST_REMARK = 50, 1500  # problems, or warnings, of a source; characters of one
_MOST_NAME = 130  # characters of a schema and a table, of 63 bytes each
_MIB = 1024 * 1024
# Databases of hosted services, which stand for the provider.
_PROVIDERS = frozenset(
    {"_dodb", "rdsadmin", "cloudsqladmin", "alloydbadmin", "azure_maintenance", "azure_sys"}
)
_RDS = "set rds.logical_replication = 1 in its parameter group and restart it"
_WAL_LEVEL = "set wal_level = logical and restart it"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table with rows of its own.

    ``keyed``: its changes can be told apart, by a key or another replica identity.  ``owned``: the user may
    publish it.  ``hidden``: row-level security hides rows from the user.  ``identity`` is ``relreplident``.
    """

    schema: str
    name: str
    bytes: int = 0
    keyed: bool = True
    unlogged: bool = False
    owned: bool = True
    readable: bool = True
    hidden: bool = False
    identity: str = "d"

    @property
    def can_be_full(self) -> bool:
        """Whether REPLICA IDENTITY FULL can be set, and what there was before can be set again."""
        return not self.keyed and self.identity in ("d", "n")

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class SourceDatabase:
    """``open``: connections are allowed, and to this user.  ``can_create``: the user may publish in it."""

    name: str
    open: bool = True
    encoding: str = "UTF8"
    collation: str = ""
    bytes: int = 0
    can_create: bool = True
    tables: tuple[SourceTable, ...] = ()
    foreign: tuple[str, ...] = ()
    extensions: frozenset[str] = frozenset()
    large_objects: int = 0


@dataclass(frozen=True, slots=True)
class SourceServer:
    """``version`` is as in ``server_version_num``; slots and senders are those that are free."""

    version: int
    user: str
    can_replicate: bool = True
    wal_level: str = "logical"
    free_slots: int = 10
    free_senders: int = 10
    in_recovery: bool = False
    pooler: bool = False
    is_rds: bool = False
    system_identifier: int | None = None
    databases: tuple[SourceDatabase, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetServer:
    """``contents`` has some of what is in the databases of these names that are there already.

    ``workers`` is how many processes may receive changes; ``free_mib`` is of the cluster's storage.
    ``newest`` is the newest major version of its host, 0 if that is not known.
    """

    version: int
    newest: int = 0
    collation: str = ""
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extensions: frozenset[str] = frozenset()
    workers: int = 4
    free_mib: int | None = None
    system_identifier: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    method: Method
    databases: tuple[str, ...]


def wanted(databases: Collection[SourceDatabase], ignored: Collection[str]) -> tuple[SourceDatabase, ...]:
    """Return the databases to migrate; the superuser's own counts only if something is in it."""
    return tuple(
        one
        for one in databases
        if one.name not in ignored
        and one.name not in _PROVIDERS
        and (one.name != _SUPERUSER or one.tables or one.large_objects)
    )


def published(database: SourceDatabase, *, full_identity: bool) -> tuple[SourceTable, ...]:
    """Return the tables whose changes follow by replication."""
    return tuple(
        one
        for one in database.tables
        if not one.unlogged and (one.keyed or (full_identity and one.can_be_full))
    )


def copied_late(database: SourceDatabase, *, full_identity: bool) -> tuple[SourceTable, ...]:
    """Return the tables that are copied at the end, since their changes cannot follow."""
    following = set(published(database, full_identity=full_identity))
    return tuple(one for one in database.tables if one not in following)


def judge(
    source: SourceServer, target: TargetServer, ignored: Collection[str], *, full_identity: bool
) -> Verdict:
    """Return what is in the way, and how the migration would go."""
    chosen = wanted(source.databases, ignored)
    why_not = tuple(_no_replication(source, chosen))
    method = Method.DUMP if why_not else Method.LOGICAL
    problems = [*_of_server(source, target), *_of_databases(chosen, target)]
    warnings = [*_of_choice(source, ignored), *_remarks(chosen, target)]
    if method is Method.LOGICAL:
        problems += _of_room(source, target, len(chosen))
        warnings += _late(chosen, full_identity=full_identity)
    else:
        warnings.append(
            f"Changes do not follow, since {'; '.join(why_not)}. The rows are copied once, as of one moment"
            " for each database: stop writing to the source first."
        )
    names_ = tuple(one.name for one in chosen)
    return Verdict(_limited(problems), _limited(warnings), method, names_)


def _limited(remarks: Sequence[str]) -> tuple[str, ...]:
    more = len(remarks) - _MOST_REMARKS
    return (*map(_short, remarks[:_MOST_REMARKS]), *([f"and {more} more"] if more > 0 else []))


def _short(remark: str) -> str:
    """Return a remark that fits into the record and controls no terminal, whatever the source says it is."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in remark[:_MOST_REMARK])
    return shown if len(remark) <= _MOST_REMARK else f"{shown}…"


def _no_replication(source: SourceServer, chosen: Collection[SourceDatabase]) -> Iterator[str]:
    """Yield why the source cannot replicate to us."""
    if source.wal_level != "logical":
        yield f"its wal_level is {source.wal_level}: {_RDS if source.is_rds else _WAL_LEVEL}"
    if not source.can_replicate:
        grant = "GRANT rds_replication TO" if source.is_rds else "ALTER ROLE … REPLICATION for"
        yield f"user {source.user} may not replicate: {grant} {source.user}"
    for one in chosen:
        foreign = [str(table) for table in one.tables if not table.owned]
        if foreign:
            yield f"user {source.user} does not own {some(foreign)} of database {one.name}"
        elif not one.can_create:
            yield f"user {source.user} may not create publications in database {one.name}: GRANT CREATE"


def _of_server(source: SourceServer, target: TargetServer) -> Iterator[str]:
    major = source.version // 10_000
    if source.pooler:
        yield "the source answers through a connection pooler: name the direct port of the server"
    if source.system_identifier is not None and source.system_identifier == target.system_identifier:
        yield "the source is this cluster itself"
    if major < OLDEST:
        yield f"the source is PostgreSQL {major}, and {OLDEST} is the oldest that can be migrated"
    if major > target.version // 10_000:
        yield (
            f"the source is PostgreSQL {major}, and the cluster {target.version // 10_000}: migrate into a"
            f" cluster of version {major} or newer{_unless_offered(major, target)}"
        )
    if source.in_recovery:
        yield "the source is a standby: name its primary"


def _unless_offered(major: int, target: TargetServer) -> str:
    if not 0 < target.newest < major:
        return ""
    return f", which is not installed here, where {target.newest} is the newest"


def _of_room(source: SourceServer, target: TargetServer, count: int) -> Iterator[str]:
    if source.free_slots < count + 1:
        yield (
            f"the source has {source.free_slots} free replication slots, and {count + 1} are needed: raise"
            " max_replication_slots"
        )
    if source.free_senders < count + 1:
        yield (
            f"the source has {source.free_senders} free WAL senders, and {count + 1} are needed: raise"
            " max_wal_senders"
        )
    if target.workers < count + 1:
        yield (
            f"the cluster's max_logical_replication_workers is {target.workers}, and {count + 1} are needed:"
            " raise it in its configuration, or ignore databases"
        )


def _of_databases(chosen: Collection[SourceDatabase], target: TargetServer) -> Iterator[str]:
    if not chosen:
        yield "it has no database to migrate"
    if len(chosen) > MOST_DATABASES:
        yield (
            f"it has {len(chosen)} databases, and {MOST_DATABASES} can be migrated at a time: add others to"
            " ignore_dbs"
        )
        return
    for one in chosen:
        yield from _of_database(one, target)
    total = sum(one.bytes for one in chosen)
    if target.free_mib is not None and total // _MIB > target.free_mib:
        yield (
            f"the databases have {total // _MIB} MiB, and the cluster's storage has"
            f" {target.free_mib} MiB left"
        )


def _of_database(one: SourceDatabase, target: TargetServer) -> Iterator[str]:
    if one.name == _SUPERUSER:
        yield f"database {_SUPERUSER} is not empty, and the cluster keeps its own: add it to ignore_dbs"
        return
    if one.name in _TEMPLATES or not names.is_server_name(one.name):
        yield f"the name of database {names.quoted(one.name)} is not possible here: add it to ignore_dbs"
        return
    if not one.open:
        yield f"database {one.name} does not take connections of this user: add it to ignore_dbs"
        return
    if contents := target.contents.get(one.name):
        yield f"database {one.name} of the cluster is not empty: it has {some(contents)}"
    if missing := sorted(one.extensions - target.extensions):
        yield f"the cluster does not offer {some(missing)}, which database {one.name} has as an extension"
    if unreadable := [str(table) for table in one.tables if not table.readable]:
        yield f"the user cannot read {some(unreadable)} of database {one.name}: GRANT SELECT"
    if hidden := [str(table) for table in one.tables if table.hidden]:
        yield f"row-level security hides rows of {some(hidden)} of database {one.name}: use their owner"


def _of_choice(source: SourceServer, ignored: Collection[str]) -> Iterator[str]:
    there = {one.name for one in source.databases}
    if missing := [names.quoted(name) for name in ignored if name not in there]:
        yield f"The source has no database {some(missing)}, which ignore_dbs names."


def _remarks(chosen: Collection[SourceDatabase], target: TargetServer) -> Iterator[str]:
    for one in chosen:
        if one.encoding != "UTF8":
            yield f"The text of database {one.name} is converted from {one.encoding} to UTF8."
        if target.collation and one.collation not in ("", target.collation):
            yield (
                f"Database {one.name} sorts text by {one.collation}, the cluster by {target.collation}: the"
                " order of text may be another one."
            )
        if one.foreign:
            yield f"Foreign tables of database {one.name} come along without their server's logins."


def _late(chosen: Collection[SourceDatabase], *, full_identity: bool) -> Iterator[str]:
    for one in chosen:
        late = copied_late(one, full_identity=full_identity)
        if without := [str(table) for table in late if not table.unlogged]:
            yield (
                f"Tables without a primary key are copied at the end, and not before: {some(without)} of"
                f" database {one.name}. cenote.replica_identity_full lets them follow, and changes them on"
                " the source until the end."
            )
        if unlogged := [str(table) for table in late if table.unlogged]:
            yield f"Unlogged tables are copied at the end: {some(unlogged)} of database {one.name}."
        if one.large_objects:
            yield f"The {one.large_objects} large objects of database {one.name} are copied at the end."


def some(found: Collection[str]) -> str:
    """Return the first few names, and how many there are more."""
    listed = list(found)
    more = len(listed) - _SHOWN
    shown = ", ".join(
        name if name.isprintable() and len(name) <= _MOST_NAME else names.quoted(name)
        for name in listed[:_SHOWN]
    )
    return shown + (f" and {more} more" if more > 0 else "")
