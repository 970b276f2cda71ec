"""Privileges of the presets ``readonly`` and ``readwrite`` on other users' objects.

A preset covers all schemas, tables, views and sequences of the databases in the record: the existing ones,
and through default privileges those that any user in the record creates later.  PostgreSQL's own role for
this, ``pg_read_all_data``, will not do: it also opens the catalogs with all verifiers and with the passwords
of subscriptions.

The ledger records what was granted, so that a pass over an unchanged cluster needs a single query.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger, loaded
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Sql
from cenote.model.records import Access, Cluster


@dataclass(frozen=True, slots=True)
class Seen:
    """The grants in the ledger, by name."""

    noted: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Privileges:
    """Sorted, for comparison with the privileges granted."""

    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()


_PRIVILEGES = {
    None: _Privileges(),
    Access.READONLY: _Privileges(("USAGE",), ("SELECT",), ("SELECT",)),
    Access.READWRITE: _Privileges(
        ("USAGE",), ("DELETE", "INSERT", "SELECT", "UPDATE"), ("SELECT", "UPDATE", "USAGE")
    ),
}


def plan(context: NodeContext, seen: Seen) -> Plan:
    cluster = context.cluster
    names = _names(cluster)
    for name, (user, database, access) in names.items():
        if name not in seen.noted:
            yield Sql(
                database,
                f"granting user {user} {access} in database {database}",
                (_setting(cluster, user, access),),
            )
            yield Sql(SUPERUSER, f"noting the grant to user {user}", (ledger.note_grant(name),))
    current = {(user, database) for user, database, _ in names.values()}
    for name in sorted(seen.noted - names.keys()):
        user, database, _ = name.split("/")
        # A dropped role or database took its grants along, and another preset has replaced this one.
        if (user, database) not in current and cluster.user(user) and cluster.database(database):
            yield Sql(
                database,
                f"revoking the grants of user {user} in database {database}",
                (_setting(cluster, user, None),),
            )
        yield Sql(SUPERUSER, f"removing a grant to user {user} from the ledger", (ledger.forget_grant(name),))


def _names(cluster: Cluster) -> dict[str, tuple[str, str, Access]]:
    """Return the desired grants by name; the name also says whose objects they cover."""
    makers = loaded.digest(*sorted(user.name.encode() for user in cluster.users))
    return {
        f"{user.name}/{database.name}/{user.access}-{makers}": (user.name, database.name, user.access)
        for user in cluster.users
        for database in cluster.databases
        if user.access is not None
    }


def _setting(cluster: Cluster, user: str, access: Access | None) -> Composed:
    """Return the statement that gives a user exactly these privileges on objects of others."""
    privileges = _PRIVILEGES[access]
    makers = [maker.name for maker in cluster.users if maker.name != user]
    body = SQL(_BODY).format(
        user=Literal(user),
        makers=Literal(makers),
        schemas=Literal(list(privileges.schemas)),
        tables=Literal(list(privileges.tables)),
        sequences=Literal(list(privileges.sequences)),
    )
    return SQL("DO {}").format(Literal(body.as_string(None)))


# Objects with the right privileges stay untouched: each grant writes a row of the catalog.
_BODY = """
DECLARE
    grantee_name CONSTANT text := {user};
    grantee_oid CONSTANT oid := (SELECT oid FROM pg_roles WHERE rolname = {user});
    maker text;
    kind record;
    thing record;
BEGIN
    FOR thing IN
        SELECT format('SCHEMA %I', nspname) AS name, nspacl AS acl, {schemas}::text[] AS wanted
        FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspowner <> grantee_oid
        UNION ALL
        SELECT
            format('%s %I.%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, nspname, relname),
            relacl,
            CASE relkind WHEN 'S' THEN {sequences}::text[] ELSE {tables}::text[] END
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relowner <> grantee_oid
            AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP
        CONTINUE WHEN thing.wanted = ARRAY(
            SELECT DISTINCT privilege_type FROM aclexplode(thing.acl) WHERE grantee = grantee_oid ORDER BY 1
        );
        EXECUTE format('REVOKE ALL ON %s FROM %I', thing.name, grantee_name);
        IF thing.wanted <> '{{}}' THEN
            EXECUTE format(
                'GRANT %s ON %s TO %I', array_to_string(thing.wanted, ', '), thing.name, grantee_name
            );
        END IF;
    END LOOP;
    FOREACH maker IN ARRAY {makers}::text[] LOOP
        FOR kind IN
            SELECT * FROM (VALUES
                ('SCHEMAS', {schemas}::text[]),
                ('TABLES', {tables}::text[]),
                ('SEQUENCES', {sequences}::text[])
            ) AS kinds (name, wanted)
        LOOP
            EXECUTE format(
                'ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE ALL ON %s FROM %I',
                maker, kind.name, grantee_name
            );
            IF kind.wanted <> '{{}}' THEN
                EXECUTE format(
                    'ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT %s ON %s TO %I',
                    maker, array_to_string(kind.wanted, ', '), kind.name, grantee_name
                );
            END IF;
        END LOOP;
    END LOOP;
END
"""
