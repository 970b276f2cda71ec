"""Privileges of the presets ``readonly`` and ``readwrite`` on other users' objects.

A preset covers all schemas, tables, views and sequences of the databases in the record: the existing ones,
and through default privileges those that any user in the record creates later.  PostgreSQL's own role for
this, ``pg_read_all_data``, will not do: it also opens the catalogs with all verifiers and with the passwords
of subscriptions.

The ledger records what was granted, and a grant is not repeated: what an administrator has revoked of it
since stays revoked.  When users are added, only what they create is granted in addition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger, loaded
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import NOTHING_MADE, Ledger
from cenote.model.changes import Plan, Sql
from cenote.model.records import Access, Cluster, RemovalKind


@dataclass(frozen=True, slots=True)
class Seen:
    """The grants in the ledger, by name, and ``roles`` and ``databases`` that are there and can be reached.

    ``makers`` are also in the ledger: for the digest in a grant's name those whose objects it covers, each as
    ``digest/user``.  ``ledger`` has the users and databases in it.
    """

    noted: frozenset[str]
    makers: frozenset[str]
    roles: frozenset[str]
    databases: frozenset[str]
    ledger: Ledger = NOTHING_MADE


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


@dataclass(frozen=True, slots=True)
class _Grant:
    """A preset of a user in a database; ``digest`` stands for the users whose objects it covers."""

    user: str
    database: str
    access: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.user}/{self.database}/{self.access}-{self.digest}"

    @property
    def preset(self) -> tuple[str, str, str]:
        return self.user, self.database, self.access

    @classmethod
    def of(cls, name: str) -> _Grant:
        user, database, what = name.split("/")
        access, _, digest = what.partition("-")
        return cls(user, database, access, digest)


def plan(context: NodeContext, seen: Seen) -> Plan:
    cluster = context.cluster
    makers = sorted(user.name for user in cluster.users if user.name in seen.roles)
    wanted = {grant.name: grant for grant in _wanted(cluster, makers, seen)}
    noted = {name: _Grant.of(name) for name in seen.noted}
    yield from _noting_makers({grant.digest for grant in wanted.values()}, makers, seen)
    former = {grant.preset: grant for grant in noted.values()}
    for name, grant in wanted.items():
        if name not in noted:
            yield _granting(grant, former.get(grant.preset), makers, seen)
            yield Sql(SUPERUSER, f"noting the grant to user {grant.user}", (ledger.note_grant(name),))
    current = {(grant.user, grant.database) for grant in wanted.values()}
    kept = {grant.digest for grant in wanted.values()}
    users, databases = (set(seen.ledger.unrecorded(cluster, kind)) for kind in RemovalKind)
    for name, grant in sorted(noted.items()):
        if name in wanted:
            continue
        if grant.user in users or grant.database in databases:
            kept.add(grant.digest)  # until it is adopted into the record
            continue
        known = cluster.user(grant.user)
        # A dropped role or database took its grants along, and another preset has replaced this one.
        if (grant.user, grant.database) not in current and known and cluster.database(grant.database):
            is_there = grant.user in seen.roles and grant.database in seen.databases
            if known.access is not None or not is_there:
                kept.add(grant.digest)  # it is out of reach for the time being
                continue
            yield Sql(
                grant.database,
                f"revoking the grants of user {grant.user} in database {grant.database}",
                (_setting(grant.user, None, makers),),
            )
        yield Sql(
            SUPERUSER, f"removing a grant to user {grant.user} from the ledger", (ledger.forget_grant(name),)
        )
    yield from _forgetting_makers(kept, seen)


def _wanted(cluster: Cluster, makers: list[str], seen: Seen) -> Iterator[_Grant]:
    """Yield the desired grants, in databases that can be reached."""
    digest = loaded.digest(*(name.encode() for name in makers))
    for user in cluster.users:
        for database in cluster.databases:
            if user.access is not None and user.name in seen.roles and database.name in seen.databases:
                yield _Grant(user.name, database.name, str(user.access), digest)


def _noting_makers(digests: Collection[str], makers: list[str], seen: Seen) -> Plan:
    """Note whose objects the grants cover, before the first one that says so."""
    missing = sorted({f"{digest}/{maker}" for digest in digests for maker in makers} - seen.makers)
    if missing:
        statements = tuple(ledger.note(ledger.MAKERS, row) for row in missing)
        yield Sql(SUPERUSER, "noting whose objects presets cover", statements)


def _forgetting_makers(kept: Collection[str], seen: Seen) -> Plan:
    outdated = sorted(row for row in seen.makers if row.split("/")[0] not in kept)
    if outdated:
        statements = tuple(ledger.forget(ledger.MAKERS, row) for row in outdated)
        yield Sql(SUPERUSER, "forgetting whose objects former presets covered", statements)


def _granting(grant: _Grant, former: _Grant | None, makers: list[str], seen: Seen) -> Sql:
    access = Access(grant.access)
    covered = set[str]()
    if former is not None:
        covered = {
            maker for row in seen.makers for digest, maker in [row.split("/")] if digest == former.digest
        }
    if not covered:  # nothing was granted, or another preset, or by a version that noted no makers
        statement = _setting(grant.user, access, makers)
    else:
        statement = _setting(grant.user, access, [one for one in makers if one not in covered], only_new=True)
    return Sql(
        grant.database, f"granting user {grant.user} {access} in database {grant.database}", (statement,)
    )


def _setting(user: str, access: Access | None, makers: list[str], *, only_new: bool = False) -> Composed:
    """Return the statement that gives a user exactly these privileges on objects of others.

    ``only_new``: on what these makers create from now on, and on nothing that is there.
    """
    privileges = _PRIVILEGES[access]
    body = SQL(_BODY).format(
        user=Literal(user),
        only_new=Literal(only_new),
        makers=Literal([maker for maker in makers if maker != user]),
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
        EXIT WHEN {only_new};
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
