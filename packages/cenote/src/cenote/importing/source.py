"""Asks the source what is in its database.  It changes nothing there."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from cenote.importing.facts import CatalogId, Extension, Relation, Role, Settings, Source

_PUBLICATIONS_SINCE, _SCHEMA_PUBLICATIONS_SINCE = 100_000, 150_000

_BEGIN: LiteralString = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_DATABASE: LiteralString = """
SELECT d.oid, d.datname, r.rolname, pg_encoding_to_char(d.encoding), d.datcollate, pg_database_size(d.oid),
       current_user, pg_backend_pid(), current_setting('server_version_num')::int
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = current_database()
"""
_RELATIONS: LiteralString = """
SELECT c.oid, n.nspname, c.relname, c.relkind,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END,
       c.relkind IN ('r', 'p', 'S')
           AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')),
       c.relkind IN ('r', 'p') AND row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
# pg_shdepend has no rows for the bootstrap superuser, whose OID is 10.
_ROLES: LiteralString = """
WITH RECURSIVE here AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database()),
direct AS (
    SELECT d.refobjid AS oid FROM pg_shdepend d, here
    WHERE d.refclassid = 'pg_authid'::regclass AND d.dbid = here.oid
    UNION SELECT datdba FROM here UNION SELECT 10::oid),
groups AS (
    SELECT oid FROM direct UNION
    SELECT m.roleid FROM pg_auth_members m JOIN groups g ON m.member = g.oid),
members AS (
    SELECT oid FROM direct UNION
    SELECT m.member FROM pg_auth_members m JOIN members g ON m.roleid = g.oid)
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
       r.rolbypassrls, r.oid IN (SELECT oid FROM direct),
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = r.oid ORDER BY 1),
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = r.oid AND m.admin_option ORDER BY 1)
FROM pg_roles r WHERE r.oid IN (SELECT oid FROM groups UNION SELECT oid FROM members) ORDER BY 1
"""
_POLICIES: LiteralString = """
SELECT quote_ident(p.polname) || ' on ' || p.polrelid::regclass,
       ARRAY(SELECT r.rolname::text FROM pg_roles r WHERE r.oid = ANY (p.polroles) ORDER BY 1)
FROM pg_policy p WHERE p.polroles <> '{0}' ORDER BY 1
"""
_EXTENSIONS: LiteralString = """
SELECT 'pg_extension'::regclass::oid, e.oid, e.extname, e.extversion, n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""
_SCHEMAS: LiteralString = "SELECT 'pg_namespace'::regclass::oid, oid, nspname FROM pg_namespace"
# 16384 is FirstNormalObjectId: objects below it come with PostgreSQL.
_SUPERUSER_ONLY: LiteralString = """
SELECT 'pg_proc'::regclass::oid, p.oid,
       CASE WHEN p.proleakproof THEN 'only a superuser can create leakproof functions'
       ELSE 'only a superuser can create functions in the language ' || l.lanname END
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND p.prokind <> 'a'
  AND (p.proleakproof OR l.lanname <> 'sql' AND NOT l.lanpltrusted)
UNION ALL SELECT 'pg_cast'::regclass::oid, oid, 'only a superuser can create casts without a function'
FROM pg_cast WHERE oid >= 16384 AND castmethod = 'b'
UNION ALL SELECT 'pg_type'::regclass::oid, oid, 'only a superuser can create base types'
FROM pg_type WHERE oid >= 16384 AND typtype = 'b'
"""
_PUBLICATIONS: LiteralString = """
SELECT 'pg_publication'::regclass::oid, oid, 'only a superuser can publish all tables'
FROM pg_publication WHERE puballtables
"""
_SCHEMA_PUBLICATIONS: LiteralString = """
SELECT 'pg_publication_namespace'::regclass::oid, oid, 'only a superuser can publish the tables of a schema'
FROM pg_publication_namespace
"""
_SETTINGS: LiteralString = """
SELECT coalesce(r.rolname, ''), s.setdatabase <> 0, s.setconfig
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY 1, 2
"""
# What a dump of one database leaves out, each as a count and the words for it.
_NOTES: tuple[tuple[LiteralString, str], ...] = (
    (
        "SELECT count(*) FROM pg_seclabel",
        "security labels (they need a provider that is loaded on the server)",
    ),
    (
        "SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        " WHERE d.datname = current_database()",
        "subscriptions: only a superuser can create them",
    ),
    (
        "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()",
        "logical replication slots: consumers have to begin anew on the target",
    ),
    (
        "SELECT count(*) FROM pg_class WHERE reltablespace <> 0 AND relkind IN ('r', 'm', 'i', 'p', 'I')"
        " AND oid >= 16384",
        "tables or indexes in tablespaces of their own: the target has one storage for all",
    ),
    (
        "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()",
        "prepared transactions: commit or roll them back on the source first",
    ),
    (
        "SELECT count(*) FROM pg_database WHERE datname = current_database() AND datacl IS NOT NULL",
        "list of grants on the database itself (CONNECT, CREATE, TEMPORARY)",
    ),
)


def connect(uri: str) -> psycopg.Connection[Any]:
    """Connect, and begin a transaction in which the whole import sees the source as of one moment."""
    connection = psycopg.connect(uri, connect_timeout=15, fallback_application_name="cenote db import")
    connection.autocommit = True
    # A customer's functions in other schemas could stand in front of PostgreSQL's own.
    connection.execute("SET search_path = pg_catalog")
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET idle_in_transaction_session_timeout = 0")
    connection.execute(_BEGIN)
    return connection


def look(connection: psycopg.Connection[Any]) -> Source:
    """Return what is known of the source."""
    database = connection.execute(_DATABASE).fetchone()
    assert database is not None
    oid, name, owner, encoding, collation, size, user, pid, version = database
    relations = connection.execute(_RELATIONS).fetchall()
    roles = connection.execute(_ROLES).fetchall()
    named = {row[0]: Relation(row[1], row[2], row[3]) for row in relations}
    return Source(
        name=name,
        version=version,
        user=user,
        owner=owner,
        encoding=encoding,
        collation=collation,
        bytes=size,
        # A pooler makes up the number that cancels a query.
        pooler=connection.info.backend_pid != pid,
        system_identifier=system_identifier(connection),
        oid=oid,
        place=f"{connection.info.host or 'localhost'}:{connection.info.port}",
        bytes_of={row[0]: row[4] for row in relations},
        unreadable=tuple(str(named[row[0]]) for row in relations if row[5]),
        row_security=tuple(str(named[row[0]]) for row in relations if row[6]),
        roles=tuple(map(_role, roles)),
        grantees=tuple(row[0] for row in roles if row[8]),
        policies={name: tuple(names) for name, names in connection.execute(_POLICIES).fetchall()},
        extensions={
            (row[0], row[1]): Extension(*row[2:]) for row in connection.execute(_EXTENSIONS).fetchall()
        },
        superuser_only=_superuser_only(connection, version),
        schemas={(row[0], row[1]): row[2] for row in connection.execute(_SCHEMAS).fetchall()},
        settings=tuple(_settings(*row) for row in connection.execute(_SETTINGS).fetchall()),
        relations=named,
        notes=tuple(_notes(connection)),
    )


def export_snapshot(connection: psycopg.Connection[Any]) -> str | None:
    """Return the name of the transaction's snapshot for pg_dump; None where the source cannot export it."""
    try:
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    except psycopg.DatabaseError:
        if connection.closed:
            raise
        connection.execute("ROLLBACK")
        connection.execute(_BEGIN)
        return None
    return None if row is None else str(row[0])


def system_identifier(connection: psycopg.Connection[Any]) -> int | None:
    found = _asked(connection, "SELECT system_identifier FROM pg_control_system()")
    return None if found is None else int(found)


def _role(row: tuple[Any, ...]) -> Role:
    name, can_login, superuser, inherits, *flags = row[:8]
    words = ("CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    attributes = tuple(word for word, flag in zip(words, flags, strict=True) if flag)
    groups = tuple((group, group in row[10]) for group in row[9])
    return Role(name, can_login, superuser, inherits, attributes, groups)


def _settings(role: str, in_database: bool, values: list[str]) -> Settings:
    pairs = (value.partition("=") for value in values)
    return Settings(role, in_database, tuple((name, value) for name, _, value in pairs))


def _superuser_only(connection: psycopg.Connection[Any], version: int) -> dict[CatalogId, str]:
    queries = [_SUPERUSER_ONLY]
    if version >= _PUBLICATIONS_SINCE:
        queries.append(_PUBLICATIONS)
    if version >= _SCHEMA_PUBLICATIONS_SINCE:
        queries.append(_SCHEMA_PUBLICATIONS)
    rows = [row for query in queries for row in connection.execute(query).fetchall()]
    return {(class_id, oid): reason for class_id, oid, reason in rows}


def _notes(connection: psycopg.Connection[Any]) -> list[str]:
    counts = ((_asked(connection, query), words) for query, words in _NOTES)
    return [f"{count} {words}" for count, words in counts if count]


def _asked(connection: psycopg.Connection[Any], query: LiteralString) -> Any:
    """Return the one value of an answer; None where the user may not ask, or the version lacks it."""
    try:
        with connection.transaction():
            row = connection.execute(query).fetchone()
    except psycopg.DatabaseError:
        if connection.closed:
            raise
        return None
    return None if row is None else row[0]
