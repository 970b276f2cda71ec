"""The server that an online migration copies into: its databases, the role that restores, the subscriptions.

As superuser statements of ours alone are run, with quoted names.  What a dump says is restored by pg_restore
as a role without rights, and changes of the source are applied as that role, too.  At the end it may act for
the owners of objects, the administrator among them, since only they can grant what the dump says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import LiteralString, cast
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.agent.node_pass import session_of
from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger
from cenote.engine.plan.context import NodeContext
from cenote.errors import CenoteError
from cenote.host import extensions, migration_source
from cenote.host.sql import Session
from cenote.importing import facts, target
from cenote.model import topology
from cenote.model.migrations import ROLE
from cenote.model.records import ADMIN_USER, Cluster

_LONG_SECONDS = 24 * 3600  # for statements on all rows, such as ANALYZE
_RUN_OWNER_SINCE = 16  # PostgreSQL applies as each table's owner, and can ask for a password
_MARKS = SQL("SELECT name FROM cenote.made WHERE kind = {}").format(Literal(ledger.MIGRATION)).as_string(None)
_STATES = """
SELECT count(*), count(*) FILTER (WHERE srsubstate = 'r')
FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid WHERE s.subname = {}
"""
_STRANGERS = """
SELECT c.oid::regclass::text FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
JOIN pg_class c ON c.oid = r.srrelid WHERE s.subname = {} AND c.relowner <> s.subowner ORDER BY 1
"""
_FAILURES = """
SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::bigint FROM pg_stat_subscription_stats
WHERE subname = {}
"""
_AFTER_DONE = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND oid >= 16384)
    OR EXISTS (SELECT FROM pg_policy) OR EXISTS (SELECT FROM pg_publication)
    OR EXISTS (SELECT FROM pg_statistic_ext)
    OR EXISTS (SELECT FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384)
    OR EXISTS (SELECT FROM pg_class WHERE relrowsecurity AND oid >= 16384)
    OR EXISTS (SELECT FROM pg_constraint WHERE contype = 'c' AND NOT convalidated)
"""
_KINDS: Mapping[str, LiteralString] = {
    "table": "TABLE",
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "sequence": "SEQUENCE",
    "foreign table": "FOREIGN TABLE",
    "function": "FUNCTION",
    "procedure": "PROCEDURE",
    "aggregate": "AGGREGATE",
    "type": "TYPE",
    "schema": "SCHEMA",
    "large object": "LARGE OBJECT",
    "collation": "COLLATION",
    "operator": "OPERATOR",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "statistics object": "STATISTICS",
}
_ME = Identifier(ROLE)


class MigrationTarget:
    def __init__(self, context: NodeContext, id: UUID) -> None:
        self.context, self._id = context, id
        self.session = session_of(context)
        node = context.node
        self._long = Session(
            context.cluster_paths.sockets, node.port, node.pool_port, statement_seconds=_LONG_SECONDS
        )

    async def close(self) -> None:
        await self.session.close()
        await self._long.close()

    def environment(self, database: str) -> dict[str, str]:
        """Return the variables by which pg_restore connects, as the role that restores."""
        return {
            "PGHOST": str(self.context.cluster_paths.sockets),
            "PGPORT": str(self.context.node.port),
            "PGUSER": ROLE,
            "PGDATABASE": database,
            "PGAPPNAME": "cenote migration",
            "PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=0",
        }

    # -- How far it is

    async def marks(self) -> set[str]:
        """Return what was done, as it was noted."""
        prefix = f"{self._id}/"
        rows = await self.session.rows(SUPERUSER, _MARKS)
        return {name.removeprefix(prefix) for (name,) in rows if name.startswith(prefix)}

    async def note(self, mark: str) -> None:
        await self._run(SUPERUSER, "noting a step", ledger.note(ledger.MIGRATION, f"{self._id}/{mark}"))

    async def unmark(self, mark: str) -> None:
        await self._run(SUPERUSER, "noting a step", ledger.forget(ledger.MIGRATION, f"{self._id}/{mark}"))

    # -- Databases

    async def databases(self) -> dict[str, str]:
        """Return the databases and their owners."""
        query = "SELECT datname, rolname FROM pg_database JOIN pg_roles r ON r.oid = datdba"
        return dict(await self.session.rows(SUPERUSER, query))

    async def contents(self, database: str) -> tuple[str, ...]:
        """Return some of what customers have in a database."""
        return tuple(name for (name,) in await self.session.rows(database, target.CONTENTS))

    async def begin(self) -> None:
        """Have the role, and end what a former agent has left of itself."""
        await self._run(
            SUPERUSER,
            "ending what a former migration has left",
            SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}"
                " AND backend_type = 'client backend'"
            ).format(Literal(ROLE)),
        )
        if not await self.session.rows(SUPERUSER, _role_exists(ROLE)):
            await self._run(SUPERUSER, f"making the role {ROLE}", SQL("CREATE ROLE {} LOGIN").format(_ME))
        await self.give_back(ADMIN_USER)

    async def take(self, database: str) -> None:
        """Have a database that the role may create things in, and where nobody else is."""
        if database not in await self.databases():
            making = SQL("CREATE DATABASE {} OWNER {}").format(Identifier(database), Identifier(ADMIN_USER))
            await self._run(SUPERUSER, f"creating database {database}", making, atomic=False)
        ending = SQL(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_roles ON rolname = usename"
            " WHERE datname = {} AND NOT rolsuper AND backend_type = 'client backend'"
        ).format(Literal(database))
        granting = SQL("GRANT CREATE, CONNECT ON DATABASE {} TO {}").format(Identifier(database), _ME)
        await self._run(SUPERUSER, f"closing database {database}", ending, granting)
        await self._run(
            database, f"preparing database {database}", SQL("GRANT ALL ON SCHEMA public TO {}").format(_ME)
        )

    async def wipe(self, database: str) -> None:
        """Remove all that was restored into a database."""
        await self._run(
            database, f"emptying database {database}", SQL("DROP OWNED BY {} CASCADE").format(_ME)
        )

    async def seen(self, database: str) -> facts.Target:
        """Return what decides on the entries of a dump."""
        binaries = self.context.server_binaries
        installed = await self.session.rows(
            database, "SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"
        )
        roles = await self.session.rows(SUPERUSER, "SELECT rolname FROM pg_roles")
        return facts.Target(
            cluster=self.context.cluster.name,
            version=int(self.context.version) * 10_000,
            database=database,
            exists=True,
            owner=ADMIN_USER,
            admin=ADMIN_USER,
            encoding="UTF8",
            collation="",
            contents=(),
            extensions=dict(installed),
            available=frozenset(extensions.offered(binaries)),
            roles=frozenset(name for (name,) in roles),
            system_identifier=None,
            oid=0,
        )

    async def add_extensions(self, database: str, wanted: Iterable[facts.Extension]) -> None:
        """Create extensions in the schemas that the source has them in, while nothing else is there."""
        for one in wanted:
            statements: list[SQL | Composed] = []
            if one.schema not in ("public", "pg_catalog"):
                making = SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}")
                statements.append(making.format(Identifier(one.schema), Identifier(ADMIN_USER)))
            statements += [
                SQL("GRANT CREATE ON DATABASE {} TO {}").format(Identifier(database), Identifier(ADMIN_USER)),
                SQL("SET LOCAL ROLE {}").format(Identifier(ADMIN_USER)),
                SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(
                    Identifier(one.name), Identifier(one.schema)
                ),
            ]
            await self._run(database, f"creating extension {one.name}", *statements)

    async def schemas(self, database: str) -> set[str]:
        return {name for (name,) in await self.session.rows(database, "SELECT nspname FROM pg_namespace")}

    async def relations(self, database: str) -> set[tuple[str, str]]:
        query = "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        return {(schema, name) for schema, name in await self.session.rows(database, query)}

    async def is_after(self, database: str) -> bool:
        """Return whether what comes at the end was restored, which is all or nothing."""
        [(done,)] = await self.session.rows(database, _AFTER_DONE)
        return bool(done)

    # -- The subscription

    async def subscribe(self, database: str, name: str, conninfo: str) -> None:
        """Have a subscription that the role owns; the server begins to copy once it is enabled.

        Its owner has to be a superuser at that moment, before PostgreSQL 16, and is none when others see it.
        """
        if await self.is_subscribed(name):
            return
        statements = subscribing(self.context.cluster, self.context.version, name, conninfo)
        await self._run(database, f"subscribing database {database}", *statements)

    async def strangers(self, database: str, name: str) -> list[str]:
        """Return the tables that a source has named for a subscription and that were not copied from it.

        Before PostgreSQL 15 changes are applied to any table, also to those of the system.
        """
        rows = await self.session.rows(database, SQL(_STRANGERS).format(Literal(name)).as_string(None))
        return [table for (table,) in rows]

    async def enable(self, database: str, name: str) -> None:
        enabling = SQL("ALTER SUBSCRIPTION {} ENABLE").format(Identifier(name))
        await self._run(database, f"enabling the subscription of database {database}", enabling)

    async def disable(self, database: str, name: str) -> None:
        """End the processes of a subscription, if it is there."""
        if await self.is_subscribed(name):
            disabling = SQL("ALTER SUBSCRIPTION {} DISABLE").format(Identifier(name))
            await self._run(database, f"disabling the subscription of database {database}", disabling)

    async def is_subscribed(self, name: str) -> bool:
        query = SQL("SELECT FROM pg_subscription WHERE subname = {}").format(Literal(name)).as_string(None)
        return bool(await self.session.rows(SUPERUSER, query))

    async def unsubscribe(self, database: str, name: str) -> None:
        """Drop a subscription, if it is there, without asking the source."""
        if not await self.is_subscribed(name):
            return
        named = Identifier(name)
        await self._run(
            database,
            f"ending the subscription of database {database}",
            SQL("ALTER SUBSCRIPTION {} DISABLE").format(named),
            SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(named),
            SQL("DROP SUBSCRIPTION {}").format(named),
        )

    async def copied(self, database: str, name: str) -> tuple[int, int]:
        """Return the number of tables of a subscription, and of those whose rows are there."""
        [(every, ready)] = await self.session.rows(
            database, SQL(_STATES).format(Literal(name)).as_string(None)
        )
        return int(every), int(ready)

    async def size(self, database: str) -> int:
        """Return the bytes of a database with its indexes."""
        query = SQL("SELECT pg_database_size({})").format(Literal(database)).as_string(None)
        [(size,)] = await self.session.rows(SUPERUSER, query)
        return int(size)

    async def failures(self, name: str) -> int:
        """Return how often changes could not be applied."""
        [(count,)] = await self.session.rows(SUPERUSER, SQL(_FAILURES).format(Literal(name)).as_string(None))
        return int(count)

    async def sync_slots(self, name: str) -> str:
        """Return a pattern of the slots that a subscription's first copy of tables makes on the source."""
        query = SQL(
            "SELECT oid, system_identifier FROM pg_subscription, pg_control_system() WHERE subname = {}"
        )
        [(oid, identifier)] = await self.session.rows(SUPERUSER, query.format(Literal(name)).as_string(None))
        return f"^pg_{oid}_sync_[0-9]+_{identifier}$"

    # -- The end

    async def empty(self, database: str, tables: Iterable[tuple[str, str]]) -> None:
        """Empty tables that are copied at the end, and remove all large objects."""
        removing = SQL("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        await self._run(database, f"emptying tables of database {database}", *emptying(tables), removing)

    async def set_sequences(self, database: str, values: Iterable[tuple[str, str, int, bool]]) -> None:
        there = await self.relations(database)
        statements = [
            SQL("SELECT setval({}::regclass, {}, {})").format(
                Literal(_quoted(schema, name)), Literal(value), Literal(called)
            )
            for schema, name, value, called in values
            if (schema, name) in there
        ]
        if statements:
            await self._run(database, f"setting the sequences of database {database}", *statements)

    async def borrow(self, name: str) -> None:
        """Let the role that restores act for another one, for its grants."""
        granting = SQL("GRANT {} TO {}").format(Identifier(name), _ME)
        await self._run(SUPERUSER, f"borrowing the role {name}", granting)

    async def give_back(self, name: str) -> None:
        """Let the role that restores act for another one no more."""
        revoking = SQL("REVOKE {} FROM {}").format(Identifier(name), _ME)
        await self._run(SUPERUSER, f"giving back the role {name}", revoking)

    async def as_admin(self, summary: str, *statements: SQL | Composed) -> None:
        """Run statements that the administrator may run, as it, in one transaction."""
        acting = SQL("SET LOCAL ROLE {}").format(Identifier(ADMIN_USER))
        await self._run(SUPERUSER, summary, acting, *statements)

    async def hand_over(
        self, database: str, owners: Mapping[tuple[str, str], str], lasting: Collection[str], owner: str
    ) -> None:
        """Give all objects to their owners, those of no lasting role to the administrator."""
        rows = await self.session.rows(database, migration_source.OWNERS)
        statements: list[SQL | Composed] = []
        for kind, identity, present in rows:
            heir = owners.get((kind, identity), "")
            if present == ROLE and heir in lasting and kind in _KINDS:
                # The server itself has quoted the identity.
                quoted = SQL(cast(LiteralString, identity))
                giving = SQL("ALTER {} {} OWNER TO {}")
                statements.append(giving.format(SQL(_KINDS[kind]), quoted, Identifier(heir)))
        statements.append(SQL("REASSIGN OWNED BY {} TO {}").format(_ME, Identifier(ADMIN_USER)))
        await self._run(database, f"giving the objects of database {database} to their owners", *statements)
        if owner in lasting:
            giving = SQL("ALTER DATABASE {} OWNER TO {}")
            giving_database = giving.format(Identifier(database), Identifier(owner))
            await self._run(SUPERUSER, f"giving database {database} to {owner}", giving_database)

    async def refresh(self, database: str, wanted: Collection[tuple[str, str]]) -> list[str]:
        """Fill materialized views, whose queries run as their owner; return what is wrong with the others.

        One may read another, so each is tried again as long as some succeed.
        """
        query = "SELECT schemaname, matviewname FROM pg_matviews WHERE NOT ispopulated"
        left = [one for one in await self.session.rows(database, query) if one in wanted]
        problems: list[str] = []
        while left:
            problems, before = [], left
            left = []
            for schema, name in before:
                named = Identifier(schema, name)
                filling = SQL("REFRESH MATERIALIZED VIEW {}").format(named)
                try:
                    await self._long.run(database, f"filling {schema}.{name}", [filling], False)
                except CenoteError as error:
                    problems.append(error.message)
                    left.append((schema, name))
            if len(left) == len(before):
                break
        return problems

    async def analyze(self, database: str) -> None:
        await self._long.run(database, f"ANALYZE of database {database}", [SQL("ANALYZE")], False)

    async def leave(self, database: str) -> None:
        """Take back what the role may do in a database."""
        await self._run(database, f"leaving database {database}", SQL("DROP OWNED BY {}").format(_ME))

    async def drop_database(self, database: str) -> None:
        if database in await self.databases():
            dropping = SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(database))
            await self._run(SUPERUSER, f"dropping database {database}", dropping, atomic=False)

    async def drop_role(self, name: str) -> None:
        """Drop a role that owns nothing any more."""
        if await self.session.rows(SUPERUSER, _role_exists(name)):
            await self._run(
                SUPERUSER, f"dropping the role {name}", SQL("DROP ROLE {}").format(Identifier(name))
            )

    async def drop_stand_in(self, database: str, name: str) -> None:
        """Take a role that does not stay out of grants and policies of a database."""
        named = Identifier(name)
        if await self.session.rows(SUPERUSER, _role_exists(name)):
            reassigning = SQL("REASSIGN OWNED BY {} TO {}").format(named, Identifier(ADMIN_USER))
            dropping = SQL("DROP OWNED BY {}").format(named)
            await self._run(database, f"taking the role {name} out", reassigning, dropping)

    async def end(self) -> None:
        """Drop the role and forget how far it was."""
        if await self.session.rows(SUPERUSER, _role_exists(ROLE)):
            for database in await self._connectable():
                await self.leave(database)
        await self.drop_role(ROLE)
        forgetting = SQL("DELETE FROM cenote.made WHERE kind = {}").format(Literal(ledger.MIGRATION))
        await self._run(SUPERUSER, "forgetting the steps", forgetting)

    async def _connectable(self) -> list[str]:
        query = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template1'"
        return [name for (name,) in await self.session.rows(SUPERUSER, query)]

    async def _run(
        self, database: str, summary: str, *statements: SQL | Composed, atomic: bool = True
    ) -> None:
        if not statements:
            raise CenoteError(f"{summary}: nothing to do")
        await self.session.run(database, summary, statements, atomic)


def subscribing(cluster: Cluster, version: str, name: str, conninfo: str) -> tuple[SQL | Composed, ...]:
    """Return the statements, of one transaction, that make a subscription; it is not enabled yet."""
    # What the source is told to be here must outlive a failover; one server alone has no need to wait.
    commits = "on" if topology.has_standbys(cluster) else "off"
    options = SQL(
        "create_slot = false, slot_name = {}, enabled = false, copy_data = true, synchronous_commit = {}"
    ).format(Literal(name), Literal(commits))
    if int(version) >= _RUN_OWNER_SINCE:
        options += SQL(", password_required = false")
    making = SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH ({})")
    return (
        SQL("ALTER ROLE {} SUPERUSER").format(_ME),
        making.format(Identifier(name), Literal(conninfo), Identifier(name), options),
        SQL("ALTER SUBSCRIPTION {} OWNER TO {}").format(Identifier(name), _ME),
        SQL("ALTER ROLE {} NOSUPERUSER").format(_ME),
    )


def emptying(tables: Iterable[tuple[str, str]]) -> Iterator[Composed]:
    """Return the statements, of one transaction, that empty tables, by schema and name.

    Triggers are not restored yet, but a source can hide one in the definition of something else, such as a
    view.  It would run as superuser, so all are disabled.
    """
    for schema, name in tables:
        table = Identifier(schema, name)
        yield SQL("ALTER TABLE ONLY {} DISABLE TRIGGER ALL").format(table)
        yield SQL("TRUNCATE ONLY {}").format(table)


def _role_exists(name: str) -> str:
    return SQL("SELECT FROM pg_roles WHERE rolname = {}").format(Literal(name)).as_string(None)


def _quoted(schema: str, name: str) -> str:
    return Identifier(schema, name).as_string(None)
