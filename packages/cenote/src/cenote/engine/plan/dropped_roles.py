"""Dropping roles that were removed from the record.

What such a user owned runs with its owner's rights: functions that are ``SECURITY DEFINER``, views, rules,
the triggers that a cascading foreign key fires, the functions of an index when autovacuum analyses its table.
In the hands of the administrator, whoever may use one of these could act as the administrator.  So each
deleted user's things go to a role of their own, which cannot log in and has no other rights; the
administrator is a member of it, and may do with them what an owner may.

Databases go to the administrator: nothing runs with the rights of their owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.dropped_databases import drop_subscription, roll_back
from cenote.model.changes import Change, Drop, DropPlan, Sql
from cenote.model.records import ADMIN_USER, RemovalKind

OWNER_PREFIX = "cenote_deleted_user_"  # the API accepts no user of such a name

# Event triggers belong to superusers, and so do publications of whole schemas or of all tables: they cannot
# be handed over, so they go with their owner.
_UNFIT = """
DECLARE
    thing record;
BEGIN
    FOR thing IN SELECT evtname FROM pg_event_trigger WHERE evtowner = {role}::regrole LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', thing.evtname);
    END LOOP;
    FOR thing IN SELECT pubname FROM pg_publication WHERE pubowner = {role}::regrole LOOP
        BEGIN
            EXECUTE format('ALTER PUBLICATION %I OWNER TO %I', thing.pubname, {owner});
        EXCEPTION WHEN insufficient_privilege THEN
            EXECUTE format('DROP PUBLICATION %I', thing.pubname);
        END;
    END LOOP;
END
"""


@dataclass(frozen=True, slots=True)
class Role:
    """A role to be dropped.

    ``owns``: more than databases and default privileges.  ``places`` are the databases in which it owns
    something or was granted something.  ``prepared`` and ``subscriptions`` are pairs of database and name.
    """

    oid: int
    owns: bool = False
    databases: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    prepared: tuple[tuple[str, str], ...] = ()
    subscriptions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` are in our ledger and to be dropped, ``roles`` those that exist.

    ``closed`` are the databases that accept no connections, ``opened`` those that a drop has opened, and
    ``lost`` those of them that are gone.
    ``owners`` are the roles that own what deleted users owned, ``empty`` those that own nothing any more.
    """

    names: tuple[str, ...] = ()
    roles: dict[str, Role] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    opened: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


def plan(context: NodeContext, seen: Seen) -> DropPlan:
    for name in seen.names:
        changes = [*_handing_over(context, name, seen), *_dropping(context, name, seen)]
        yield Drop(RemovalKind.USER, name, tuple(changes))
    needed = {owner_of(role) for role in seen.roles.values()}
    for owner in seen.empty:
        if owner not in needed:
            yield Drop(RemovalKind.USER, owner, (_forgetting(owner),))
    if not seen.names:  # what a drop has opened that was killed before it closed it again
        for database in seen.opened:
            yield Drop(RemovalKind.DATABASE, database, (_closing(database),))
    for database in seen.lost:
        forgetting = Sql(
            SUPERUSER, f"forgetting database {database}", (ledger.forget(ledger.OPENED, database),)
        )
        yield Drop(RemovalKind.DATABASE, database, (forgetting,))


def owner_of(role: Role) -> str:
    """Return the name of the role that gets what a user owned; another user of the same name has another."""
    return f"{OWNER_PREFIX}{role.oid}"


def _handing_over(context: NodeContext, name: str, seen: Seen) -> Iterator[Change]:
    role = seen.roles.get(name)
    if role is None:
        return
    if role.owns and owner_of(role) not in seen.owners:
        yield _new_owner(context, name, role)
    for database in role.databases:
        giving = SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database), Identifier(ADMIN_USER))
        yield Sql(SUPERUSER, f"giving database {database} of user {name} to {ADMIN_USER}", (giving,))
    for place in _places(role):
        opens = place in seen.closed or place in seen.opened
        if opens:
            yield _opening(place)
        yield from (roll_back(place, gid) for database, gid in role.prepared if database == place)
        yield Sql(
            place,
            f"handing over what user {name} owns in database {place}",
            tuple(_statements(name, role, place)),
        )
        if opens:
            yield _closing(place)


def _places(role: Role) -> list[str]:
    found = {*role.places, *(database for database, _ in (*role.prepared, *role.subscriptions))}
    return sorted(found)


def _new_owner(context: NodeContext, name: str, role: Role) -> Sql:
    owner, admin = Identifier(owner_of(role)), Identifier(ADMIN_USER)
    # Since PostgreSQL 16 each grant says itself whether it is inherited; before, the member's attribute says.
    options = "ADMIN TRUE, INHERIT TRUE, SET TRUE" if int(context.version) >= 16 else "ADMIN OPTION"
    statements = (
        SQL("CREATE ROLE {} NOLOGIN").format(owner),
        SQL("COMMENT ON ROLE {} IS {}").format(
            owner, Literal(f"owner of what the deleted user {name} owned")
        ),
        SQL("GRANT {} TO {} WITH {}").format(owner, admin, SQL(options)),
        ledger.note(ledger.OWNER, owner_of(role)),
    )
    return Sql(SUPERUSER, f"creating a role for what user {name} owns", statements)


def _statements(name: str, role: Role, place: str) -> Iterator[SQL | Composed]:
    for database, subscription in role.subscriptions:
        if database == place:
            yield from drop_subscription(subscription)
    if role.owns:
        quoted = Identifier(name).as_string(None)
        body = SQL(_UNFIT).format(role=Literal(quoted), owner=Literal(owner_of(role))).as_string(None)
        yield SQL("DO {}").format(Literal(body))
        yield SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(name), Identifier(owner_of(role)))
    # Of what is left: privileges, default privileges, policies for the role, and grants that it has made.
    yield SQL("DROP OWNED BY {}").format(Identifier(name))


def _dropping(context: NodeContext, name: str, seen: Seen) -> Iterator[Sql]:
    statements = (
        *ledger.forget_user(name),
        SQL("DROP ROLE IF EXISTS {}").format(Identifier(name)),
        ledger.finish_removal(context.cluster, RemovalKind.USER, name),
    )
    yield Sql(SUPERUSER, f"dropping user {name}", statements)
    if name in seen.roles:
        # A login that was in progress when LOGIN was taken away.
        end = SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = {}")
        oid = Literal(seen.roles[name].oid)
        yield Sql(SUPERUSER, f"ending the last sessions of user {name}", (end.format(oid),))


def _opening(database: str) -> Sql:
    statements = (
        ledger.note(ledger.OPENED, database),
        SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(database)),
    )
    return Sql(SUPERUSER, f"opening database {database}", statements)


def _closing(database: str) -> Sql:
    statements = (
        SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(database)),
        ledger.forget(ledger.OPENED, database),
    )
    return Sql(SUPERUSER, f"closing database {database}", statements)


def _forgetting(owner: str) -> Sql:
    statements = (
        SQL("DROP ROLE IF EXISTS {}").format(Identifier(owner)),
        ledger.forget(ledger.OWNER, owner),
    )
    return Sql(SUPERUSER, f"dropping role {owner}, which owns nothing any more", statements)
