"""The server that an online migration copies from: what it has, and the publications and slots of ours in it.

Nothing else is ever written there, but a replica identity where the customer has chosen that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from cenote.conf.conninfo import NO_PASSFILE
from cenote.errors import CenoteError
from cenote.host.source_answers import (
    Connection,
    SourceProblem,
    execute,
    in_words,
    read_number,
    read_row,
    read_rows,
)
from cenote.host.source_relay import ANSWER_BYTES, LOOPBACK, Allowance, SourceRelay
from cenote.model.migrations import MigrationSource
from cenote.model.record import Secret
from cenote.rules.migration_checks import SourceDatabase, SourceServer, SourceTable
from cenote.rules.migration_lag import SlotPosition

CONNECT_SECONDS = 8
_LOCK_ATTEMPTS, _LOCK_PAUSE = 20, 2.0  # seconds between them
_MOST_LOOKED_AT = 1000  # databases, each of which takes a connection
_SERVER: LiteralString = """
SELECT current_setting('server_version_num')::int, current_user, r.rolsuper,
    r.rolsuper OR r.rolreplication OR EXISTS (
        SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'MEMBER')),
    current_setting('wal_level'),
    current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
    current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication),
    pg_is_in_recovery(), pg_backend_pid(), EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser')
FROM pg_roles r WHERE r.rolname = current_user
"""
_DATABASES: LiteralString = """
SELECT datname, datallowconn AND has_database_privilege(oid, 'CONNECT'), pg_encoding_to_char(encoding),
    datcollate,
    CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END,
    has_database_privilege(oid, 'CREATE')
FROM pg_database WHERE NOT datistemplate ORDER BY 1
"""
_TABLES: LiteralString = """
SELECT n.nspname, c.relname, c.relkind::text, pg_table_size(c.oid), c.relpersistence = 'u',
    c.relreplident = 'f' OR EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
            AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)),
    pg_has_role(c.relowner, 'USAGE'),
    has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
    row_security_active(c.oid), c.relreplident::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'f') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
_SlotRow = tuple[str, int | None, int | None, bool]
_ServerRow = tuple[int, str, bool, bool, str, int, int, bool, int, bool]
_DatabaseRow = tuple[str, bool, str, str, int, bool]
_TableRow = tuple[str, str, str, int, bool, bool, bool, bool, bool, str]
_EXTENSIONS: LiteralString = "SELECT extname FROM pg_extension"
_LARGE_OBJECTS: LiteralString = "SELECT count(*) FROM pg_largeobject_metadata"
_SYSTEM: LiteralString = "SELECT system_identifier FROM pg_control_system()"
_KEYS: LiteralString = """
SELECT 'pg_constraint'::regclass::oid, k.oid FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid
WHERE k.contype = 'p' OR i.indisreplident AND k.contype = 'u'
UNION SELECT 'pg_class'::regclass::oid, indexrelid FROM pg_index WHERE indisreplident
"""
_INDEX_NAMES: LiteralString = """
SELECT 'pg_constraint'::regclass::oid, k.oid, n.nspname, c.relname
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conindid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('p', 'u', 'x')
UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I')
"""
_SEQUENCES: LiteralString = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' ORDER BY 1, 2
"""
_MATERIALIZED: LiteralString = "SELECT schemaname, matviewname FROM pg_matviews WHERE ispopulated"
_SLOT: LiteralString = """
SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
    pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint,
    coalesce(to_jsonb(s) ->> 'wal_status' = 'lost', false)
FROM pg_replication_slots s WHERE slot_name = ANY (%s)
"""
_SYNC_SLOTS: LiteralString = "SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ ANY (%s)"
_OWNERS: LiteralString = """
SELECT o.type, o.identity, r.rolname FROM (
    SELECT 'pg_class'::regclass AS class, oid, relowner AS owner FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND oid >= 16384 AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = pg_class.oid
                AND relkind = 'S' AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
    UNION ALL SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
        WHERE oid >= 16384 AND typelem = 0 AND typtype NOT IN ('c', 'm')
    UNION ALL SELECT 'pg_type'::regclass, t.oid, typowner FROM pg_type t JOIN pg_class c ON c.oid = typrelid
        WHERE c.relkind = 'c'
    UNION ALL SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace WHERE oid >= 16384
    UNION ALL SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
    UNION ALL SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config WHERE oid >= 16384
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxowner FROM pg_statistic_ext
) found
JOIN pg_roles r ON r.oid = found.owner
CROSS JOIN LATERAL pg_identify_object(found.class, found.oid, 0) o
"""
OWNERS = _OWNERS  # the same of the target
_VERIFIERS: LiteralString = (
    "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'"
)


class Source:
    """A source with its password."""

    def __init__(self, source: MigrationSource, password: Secret) -> None:
        self._source, self._password = source, password

    def conninfo(self, database: str, relay: SourceRelay | None = None) -> str:
        """Return how to connect to a database, with the password: through a relay, or as the server does."""
        source = self._source
        return psycopg.conninfo.make_conninfo(
            host=source.host,
            hostaddr=None if relay is None else LOOPBACK,
            port=source.port if relay is None else relay.port,
            user=source.username,
            password=self._password.reveal(),
            passfile=NO_PASSFILE,
            dbname=database,
            sslmode="require" if source.tls else "disable",
            gssencmode="disable",
            connect_timeout=CONNECT_SECONDS,
        )

    def environment(self, database: str, relay: SourceRelay | None = None) -> dict[str, str]:
        """Return the variables by which pg_dump connects; no argument has a password."""
        source = self._source
        where = {"PGHOST": source.host, "PGPORT": str(source.port)}
        if relay is not None:
            where |= {"PGHOSTADDR": LOOPBACK, "PGPORT": str(relay.port)}
        return {
            **where,
            "PGUSER": source.username,
            "PGPASSWORD": self._password.reveal(),
            "PGPASSFILE": NO_PASSFILE,
            "PGDATABASE": database,
            "PGSSLMODE": "require" if source.tls else "disable",
            "PGGSSENCMODE": "disable",
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": "cenote migration",
        }

    @contextlib.asynccontextmanager
    async def relayed(self, allowance: Allowance | None = None) -> AsyncIterator[SourceRelay]:
        """Have a relay to the source; SourceProblem for what ends a connection through it."""
        source = self._source
        relay = SourceRelay(source.host, source.port, allowance or Allowance(ANSWER_BYTES), CONNECT_SECONDS)
        async with relay.serving():
            try:
                yield relay
            except (CenoteError, psycopg.Error, OSError):
                if relay.problem:
                    raise SourceProblem(relay.problem) from None
                raise

    @contextlib.asynccontextmanager
    async def connected(
        self, database: str = "", allowance: Allowance | None = None
    ) -> AsyncIterator[Connection]:
        """Connect to a database, by default the named one; SourceProblem for whatever fails there."""
        try:
            async with (
                self.relayed(allowance) as relay,
                await psycopg.AsyncConnection.connect(
                    self.conninfo(database or self._source.dbname, relay),
                    autocommit=True,
                    application_name="cenote migration",
                    client_encoding="UTF8",
                ) as connection,
            ):
                # As for dblink: what a server gives to whoever reaches it from this host is not a customer's.
                if not connection.pgconn.used_password:
                    raise SourceProblem(
                        "the source asks this user for no password: have its pg_hba.conf demand one"
                    )
                # A customer's functions in other schemas could stand in front of PostgreSQL's own.
                await execute(connection, "SET search_path = pg_catalog")
                await execute(connection, "SET statement_timeout = 0")
                yield connection
        except psycopg.Error as error:
            raise SourceProblem(in_words(error, tls=self._source.tls)) from None
        except OSError as error:
            raise SourceProblem(f"the source cannot be reached: {error.strerror or error}") from None

    async def look(self, *, only: Iterable[str] | None = None) -> SourceServer:
        """Return what the source has; of all its databases, or these."""
        allowance = Allowance(ANSWER_BYTES)
        async with self.connected(allowance=allowance) as connection:
            row = await read_row(connection, _SERVER, _ServerRow)
            version, user, _, can_replicate, level, slots, senders, in_recovery, pid, is_rds = row
            identifier = await read_number(connection, _SYSTEM)
            databases = await read_rows(connection, _DATABASES, row=_DatabaseRow)
            pooler = connection.info.backend_pid != pid
        chosen = None if only is None else set(only)
        wanted = [one for one in databases if chosen is None or one[0] in chosen]
        if len(wanted) > _MOST_LOOKED_AT:
            raise SourceProblem(
                f"the source has {len(wanted)} databases, and {_MOST_LOOKED_AT} can be looked at"
            )
        found = [await self._database(allowance, *one) for one in wanted]
        return SourceServer(
            version=version,
            user=user,
            can_replicate=can_replicate,
            wal_level=level,
            free_slots=slots,
            free_senders=senders,
            in_recovery=in_recovery,
            pooler=pooler,
            is_rds=is_rds,
            system_identifier=identifier,
            databases=tuple(found),
        )

    async def _database(
        self,
        allowance: Allowance,
        name: str,
        is_open: bool,
        encoding: str,
        collation: str,
        size: int,
        can_create: bool,
    ) -> SourceDatabase:
        if not is_open:
            return SourceDatabase(name, open=False)
        async with self.connected(name, allowance) as connection:
            tables = await read_rows(connection, _TABLES, row=_TableRow)
            extensions = await read_rows(connection, _EXTENSIONS, row=tuple[str])
            (large,) = await read_row(connection, _LARGE_OBJECTS, tuple[int])
        return SourceDatabase(
            name=name,
            encoding=encoding,
            collation=collation,
            bytes=size,
            can_create=can_create,
            tables=tuple(
                SourceTable(
                    schema=schema,
                    name=table,
                    bytes=bytes_,
                    keyed=keyed,
                    unlogged=unlogged,
                    owned=owned,
                    readable=readable,
                    hidden=hidden,
                    identity=identity,
                )
                for schema, table, kind, bytes_, unlogged, keyed, owned, readable, hidden, identity in tables
                if kind == "r"
            ),
            foreign=tuple(f"{row[0]}.{row[1]}" for row in tables if row[2] == "f"),
            extensions=frozenset(extension for (extension,) in extensions),
            large_objects=large,
        )

    # -- What is written there

    async def publish(
        self, database: str, name: str, tables: Iterable[SourceTable], full: Iterable[SourceTable]
    ) -> None:
        """Have a publication of these tables, and a slot of the same name, unless they are there.

        ``full`` are those that get the replica identity FULL.  All this waits for transactions of the source,
        however long these take.
        """
        listed = list(tables)
        async with self.connected(database) as connection:
            for one in full:
                await _identify(connection, "FULL", one.schema, one.name)
            if not await read_rows(connection, _FIND_PUBLICATION, name):
                await connection.execute(_publication(name, listed))
            if not await read_rows(connection, _SLOT, [name]):
                await connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])

    async def clean(
        self,
        names: Mapping[str, str],
        identities: Mapping[str, Iterable[tuple[str, str, str]]],
        sync_slots: Iterable[str] = (),
    ) -> None:
        """Remove what is ours from each database, by its name, and give tables their identity back.

        ``names`` are those of publications and slots, ``identities`` has schema, name and former identity of
        tables.  ``sync_slots`` are patterns of the slots that the first copy of tables may have left.
        """
        async with self.connected() as connection:
            for (slot,) in await read_rows(connection, _SYNC_SLOTS, list(sync_slots), row=tuple[str]):
                await _drop_slot(connection, slot)
            for name in names.values():
                await _drop_slot(connection, name)
            there = {row[0] for row in await read_rows(connection, _DATABASES, row=_DatabaseRow)}
        for database, name in names.items():
            if database not in there:
                continue
            async with self.connected(database) as connection:
                if await read_rows(connection, _FIND_PUBLICATION, name):
                    await execute(connection, SQL("DROP PUBLICATION {}").format(Identifier(name)))
                for schema, table, former in identities.get(database, ()):
                    if await read_rows(connection, _FIND_TABLE, schema, table):
                        kind: LiteralString = "NOTHING" if former == "n" else "DEFAULT"
                        await _identify(connection, kind, schema, table)

    # -- What is asked on the way

    async def lags(self, names: Iterable[str]) -> dict[str, SlotPosition]:
        """Return how much of the WAL each slot has passed on; LostSlot for one that is lost."""
        async with self.connected() as connection:
            rows = await read_rows(connection, _SLOT, list(names), row=_SlotRow)
        for name, _, _, is_lost in rows:
            if is_lost:
                raise LostSlot(f"the source has removed WAL that the slot {name} needs")
        return {name: SlotPosition(written, confirmed) for name, written, confirmed, _ in rows}

    async def check_slot(self, name: str) -> None:
        """Raise LostSlot for a slot that is gone, or lost."""
        if name not in await self.lags([name]):
            raise LostSlot(f"the slot {name} of the source is gone")

    async def position(self) -> str:
        """Return where the WAL of the source ends."""
        async with self.connected() as connection:
            (position,) = await read_row(connection, "SELECT pg_current_wal_lsn()::text", tuple[str])
        return str(position)

    async def confirmed(self, name: str, position: str) -> bool:
        """Return whether all up to a position was received by way of a slot."""
        async with self.connected() as connection:
            rows = await read_rows(
                connection,
                "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                position,
                name,
                row=tuple[bool | None],
            )
        if not rows:
            raise LostSlot(f"the slot {name} of the source is gone")
        return bool(rows[0][0])

    async def sequences(self, database: str) -> list[tuple[str, str, int, bool]]:
        """Return schema, name, last value and whether that was given out, of each sequence."""
        async with self.connected(database) as connection:
            found = []
            for schema, name in await read_rows(connection, _SEQUENCES, row=tuple[str, str]):
                query = SQL("SELECT last_value, is_called FROM {}").format(Identifier(schema, name))
                value, called = await read_row(connection, query, tuple[int, bool])
                found.append((schema, name, value, called))
            return found

    async def materialized(self, database: str) -> set[tuple[str, str]]:
        """Return schema and name of the materialized views that have their rows."""
        async with self.connected(database) as connection:
            return {
                (row[0], row[1]) for row in await read_rows(connection, _MATERIALIZED, row=tuple[str, str])
            }

    async def keys(self, database: str) -> set[tuple[int, int]]:
        """Return class and OID of what the changes of rows are told apart by, as a dump names them."""
        async with self.connected(database) as connection:
            return {
                (int(row[0]), int(row[1])) for row in await read_rows(connection, _KEYS, row=tuple[int, int])
            }

    async def index_names(self, database: str) -> dict[tuple[int, int], tuple[str, str]]:
        """Return schema and name of each index, by the class and OID of what makes it in a dump."""
        async with self.connected(database) as connection:
            return {
                (int(row[0]), int(row[1])): (row[2], row[3])
                for row in await read_rows(connection, _INDEX_NAMES, row=tuple[int, int, str, str])
            }

    async def owners(self, database: str) -> dict[tuple[str, str], str]:
        """Return the owner of each object, by its type and identity."""
        async with self.connected(database) as connection:
            return {
                (row[0], row[1]): row[2]
                for row in await read_rows(connection, OWNERS, row=tuple[str, str, str])
            }

    async def verifiers(self) -> dict[str, str]:
        """Return the passwords of roles as they are stored; none where the user may not read them."""
        async with self.connected() as connection:
            try:
                return dict(await read_rows(connection, _VERIFIERS, row=tuple[str, str]))
            except psycopg.errors.InsufficientPrivilege:
                return {}


class LostSlot(CenoteError):
    """Changes of the source are lost: the migration cannot go on."""


_FIND_TABLE: LiteralString = "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s"
_FIND_PUBLICATION: LiteralString = "SELECT FROM pg_publication WHERE pubname = %s"


async def _drop_slot(connection: Connection, name: str) -> None:
    """Drop a slot; a sender that uses it is ended first."""
    for _ in range(20):
        rows = await read_rows(
            connection,
            "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s",
            name,
            row=tuple[int | None],
        )
        if not rows:
            return
        try:
            if rows[0][0] is not None:
                await execute(connection, "SELECT pg_terminate_backend(%s)", rows[0][0])
                await asyncio.sleep(0.2)
            await execute(connection, "SELECT pg_drop_replication_slot(%s)", name)
        except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            await asyncio.sleep(0.2)
    raise SourceProblem(f"the slot {name} of the source stays in use")


def _publication(name: str, tables: Iterable[SourceTable]) -> Composed:
    listed = [SQL("ONLY {}").format(Identifier(one.schema, one.name)) for one in tables]
    making = SQL("CREATE PUBLICATION {}").format(Identifier(name))
    return making + SQL(" FOR TABLE ") + SQL(", ").join(listed) if listed else making


async def _identify(connection: Connection, kind: LiteralString, schema: str, table: str) -> None:
    """Give a table a replica identity; SourceProblem while transactions that use the table do not end.

    All queries of the table queue behind whoever waits for this lock, so it is waited for shortly, and again.
    """
    statement = SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(Identifier(schema, table), SQL(kind))
    await execute(connection, "SET lock_timeout = '1s'")
    for _ in range(_LOCK_ATTEMPTS):
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            await execute(connection, statement)
            await execute(connection, "RESET lock_timeout")
            return
        await asyncio.sleep(_LOCK_PAUSE)
    raise SourceProblem(f"the table {schema}.{table} of the source is in use by transactions that do not end")
