"""Asks and prepares the cluster that a database is imported into, as its administrator on the direct port."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from cenote.importing.facts import Relation, Settings, Source, Target
from cenote.importing.role_plan import RolePlan
from cenote.importing.source import system_identifier

_INHERIT_BY_GRANT_SINCE = 160_000
_RELATIONS: LiteralString = """
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
CONTENTS: LiteralString = """
SELECT 'schema ' || n.nspname FROM pg_namespace n
WHERE n.oid >= 16384 AND n.nspname !~ '^pg_' AND NOT EXISTS (
    SELECT FROM pg_depend d
    WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
UNION ALL SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 'table ' WHEN c.relkind = 'v' THEN 'view '
    ELSE 'relation ' END || n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') AND n.nspname = 'public' AND NOT EXISTS
    (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL SELECT 'function ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public' AND NOT EXISTS
    (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL SELECT 'type ' || t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'public' AND t.typtype IN ('e', 'd', 'r') AND NOT EXISTS
    (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL SELECT 'large object ' || oid FROM pg_largeobject_metadata
LIMIT 5
"""
_AVAILABLE: LiteralString = """
SELECT a.name FROM pg_available_extensions a
JOIN pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version WHERE v.trusted
"""


@dataclass(frozen=True, slots=True)
class Access:
    """How the administrator reaches the cluster; ``authority`` is the path of its CA certificate."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    authority: str

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            sslmode="verify-full",
            sslrootcert=self.authority,
            application_name="cenote db import",
            options="-c search_path=pg_catalog -c statement_timeout=0",
            connect_timeout=15,
            autocommit=True,
        )

    def environment(self, database: str) -> dict[str, str]:
        """Return the variables for pg_restore, so that no password is among its arguments."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": self.authority,
            "PGAPPNAME": "cenote db import",
            "PGOPTIONS": "-c statement_timeout=0",
        }


def look(access: Access, cluster: str, database: str, *, exists: bool, any_database: str) -> Target:
    """Return what is known of the target, from ``any_database`` while its database does not exist."""
    with access.connect(database if exists else any_database) as connection:
        row = connection.execute(
            "SELECT d.oid, r.rolname, pg_encoding_to_char(d.encoding), d.datcollate,"
            " current_setting('server_version_num')::int"
            " FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = current_database()"
        ).fetchone()
        assert row is not None
        oid, owner, encoding, collation, version = row
        return Target(
            cluster=cluster,
            version=version,
            database=database,
            exists=exists,
            owner=owner if exists else access.user,
            admin=access.user,
            encoding=encoding,
            collation=collation,
            contents=tuple(name for (name,) in connection.execute(CONTENTS).fetchall()) if exists else (),
            extensions=extensions(connection),
            available=frozenset(name for (name,) in connection.execute(_AVAILABLE).fetchall()),
            roles=roles(connection),
            system_identifier=system_identifier(connection),
            oid=oid if exists else 0,
        )


def extensions(connection: psycopg.Connection[Any]) -> dict[str, str]:
    query: LiteralString = (
        "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    )
    return dict(connection.execute(query).fetchall())


def roles(connection: psycopg.Connection[Any]) -> frozenset[str]:
    return frozenset(name for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall())


def relations(connection: psycopg.Connection[Any]) -> frozenset[Relation]:
    return frozenset(Relation(*row) for row in connection.execute(_RELATIONS).fetchall())


class Roles:
    """The roles of an import: those that stay are created, those that do not are removed at the end.

    While it runs, the administrator is a member of each owner, which ``ALTER … OWNER`` requires of it, and
    each owner is a member of a role that may create things in every schema, which that command requires of
    the new owner: such grants come last in a dump.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], target: Target, plan: RolePlan, heir: str
    ) -> None:
        self._connection = connection
        self._target, self._plan, self._heir = target, plan, heir
        self.creator = f"cenote_import_{target.oid}"
        self._borrowed: list[str] = []
        self.notes: list[str] = []

    def prepare(self) -> None:
        """Create roles without login and stand-ins, and give out what is needed during the import."""
        there = roles(self._connection)
        for name in (*self._plan.groups, *self._plan.stand_ins, self.creator):
            if name not in there:
                self._run(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(name)))
        for name in sorted({*self._plan.present, self._heir, self._target.owner, self.creator}):
            self._borrow(name)
        for name in sorted(self._plan.present - {self._target.admin}):
            self._run(SQL("GRANT {} TO {}").format(Identifier(self.creator), Identifier(name)))
        database = Identifier(self._target.database)
        self._run(SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, Identifier(self.creator)))
        self._join()

    def open_schemas(self) -> None:
        """Let owners create things in all schemas, until ``finish``."""
        query: LiteralString = (
            "SELECT nspname FROM pg_namespace n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            " AND pg_has_role(nspowner, 'USAGE')"
        )
        for (name,) in self._connection.execute(query).fetchall():
            grant = SQL("GRANT CREATE ON SCHEMA {} TO {}")
            self._run(grant.format(Identifier(name), Identifier(self.creator)))

    def finish(self, connection: psycopg.Connection[Any]) -> None:
        """Remove what was there for the import only; what cannot be removed becomes a note."""
        self._connection = connection
        for name in self._plan.stand_ins:
            role = Identifier(name)
            self._try(SQL("REASSIGN OWNED BY {} TO {}").format(role, Identifier(self._heir)))
            self._try(SQL("DROP OWNED BY {}").format(role))
        self._try(SQL("DROP OWNED BY {}").format(Identifier(self.creator)))
        for name in (*self._plan.stand_ins, self.creator):
            self._try(SQL("DROP ROLE IF EXISTS {}").format(Identifier(name)))
        gone = {*self._plan.stand_ins, self.creator}
        for name in self._borrowed:
            if name not in gone:
                admin = Identifier(self._target.admin)
                self._try(SQL("REVOKE {} FROM {}").format(Identifier(name), admin))

    def _join(self) -> None:
        for group, member, admin in self._plan.memberships:
            option = SQL(" WITH ADMIN OPTION" if admin else "")
            self._try(SQL("GRANT {} TO {}{}").format(Identifier(group), Identifier(member), option))

    def _borrow(self, name: str) -> None:
        row = self._connection.execute(
            "SELECT %(name)s = current_user OR pg_has_role(%(name)s, 'USAGE')", {"name": name}
        ).fetchone()
        if row is not None and row[0]:
            return
        how = " WITH INHERIT TRUE, SET TRUE" if self._target.version >= _INHERIT_BY_GRANT_SINCE else ""
        grant = SQL("GRANT {} TO {}{}").format(Identifier(name), Identifier(self._target.admin), SQL(how))
        self._run(grant)
        self._borrowed.append(name)

    def _run(self, statement: Composed) -> None:
        self._connection.execute(statement)

    def _try(self, statement: Composed) -> None:
        try:
            self._connection.execute(statement)
        except psycopg.DatabaseError as error:
            if self._connection.closed:
                raise
            self.notes.append(f"{statement.as_string(None)}: {error.diag.message_primary or error}")


def apply_settings(
    connection: psycopg.Connection[Any], source: Source, database: str, names: frozenset[str]
) -> list[str]:
    """Set what the source has by ALTER DATABASE and ALTER ROLE … SET; return what was refused.

    ``names`` are the roles whose settings are taken along.
    """
    refused: list[str] = []
    for settings in source.settings:
        if settings.role not in names and (settings.role or not settings.in_database):
            continue
        for name, value in settings.values:
            try:
                with connection.transaction():
                    connection.execute("SELECT set_config(%s, %s, true)", (name, value))
                    connection.execute(_alter(settings, database, name))
            except psycopg.DatabaseError as error:
                if connection.closed:
                    raise
                whose = f"role {settings.role}" if settings.role else "the database"
                refused.append(f"setting {name} of {whose}: {error.diag.message_primary or error}")
    return refused


def _alter(settings: Settings, database: str, name: str) -> Composed:
    # A setting of an extension has a dot in its name.
    setting = SQL(".").join(map(Identifier, name.split(".")))
    if not settings.role:
        return SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(Identifier(database), setting)
    where = SQL(" IN DATABASE {}").format(Identifier(database)) if settings.in_database else SQL("")
    return SQL("ALTER ROLE {}{} SET {} FROM CURRENT").format(Identifier(settings.role), where, setting)


def count_rows(connection: psycopg.Connection[Any], relation: Relation) -> int:
    query = SQL("SELECT count(*) FROM ONLY {}").format(Identifier(relation.schema, relation.name))
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def sequence_value(connection: psycopg.Connection[Any], relation: Relation) -> tuple[Any, ...]:
    name = Identifier(relation.schema, relation.name)
    row = connection.execute(SQL("SELECT last_value, is_called FROM {}").format(name)).fetchone()
    assert row is not None
    return tuple(row)
