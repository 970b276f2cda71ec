"""The databases that were created through the API.

Customers may create databases by SQL, too: only a database in our ledger is ever dropped
(``dropped_databases.py``).  And they may drop, rename and hand over ours by SQL: one that was made once is
not made again, and its owner is set when the record has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import NOTHING_NOTED, State
from cenote.model.changes import Plan, Sql
from cenote.model.records import ADMIN_USER, Database


@dataclass(frozen=True, slots=True)
class Found:
    """A database on the server."""

    owner: str
    oid: int = 0
    allows_connections: bool = True
    connection_limit: int = -1


@dataclass(frozen=True, slots=True)
class Seen:
    """``made`` are the databases in the ledger, ``state`` is what of the record was brought about."""

    databases: dict[str, Found]
    made: frozenset[str]
    state: State = NOTHING_NOTED


def plan(context: NodeContext, seen: Seen) -> Plan:
    wanted = sorted(
        (one for one in context.cluster.databases if not is_gone(one, seen)), key=lambda one: one.name
    )
    # CREATE DATABASE cannot be in a transaction, so the ledger is written first: after a crash in between,
    # the next pass finds what is left to do.
    for database in wanted:
        if database.name not in seen.made:
            noting = ledger.note(ledger.DATABASE, database.name)
            yield Sql(SUPERUSER, f"noting database {database.name}", (noting,))
    for database in wanted:
        found = seen.databases.get(database.name)
        yield from _creating(database) if found is None else _changing(database, found, seen.state)


def is_gone(database: Database, seen: Seen) -> bool:
    """Return whether a database was made for this record of it, and SQL has dropped or renamed it since."""
    made = seen.state.made(database.name)
    return database.name not in seen.databases and made is not None and made.number == database.number


def _creating(database: Database) -> Iterator[Sql]:
    named, owner = Identifier(database.name), Identifier(database.owner or ADMIN_USER)
    yield Sql(
        SUPERUSER,
        f"creating database {database.name}",
        (SQL("CREATE DATABASE {} OWNER {}").format(named, owner),),
        atomic=False,
    )
    forgetting = ledger.forget_grants_in_database(database.name)  # of one that SQL has dropped
    notes = (*_note_made(database), *_note_owner(database), forgetting)
    yield Sql(SUPERUSER, f"noting that database {database.name} was created", notes)


def _changing(database: Database, found: Found, state: State) -> Iterator[Sql]:
    made = state.made(database.name)
    if made is None or (made.oid, made.number) != (found.oid, database.number):
        statements = list(_note_made(database))
        if made is not None and made.oid != found.oid:
            statements.append(ledger.forget_grants_in_database(database.name))
        yield Sql(SUPERUSER, f"noting which database is {database.name}", tuple(statements))
    noted = state.of(database.name, ledger.OWNED_BY)
    if noted == _owner_in_ledger(database):
        return
    if not database.owner:
        forgetting = ledger.forget_state(ledger.DATABASE_STATE, database.name, ledger.OWNED_BY)
        yield Sql(SUPERUSER, f"forgetting the owner of database {database.name}", (forgetting,))
        return
    if found.owner == database.owner:
        yield Sql(SUPERUSER, f"noting the owner of database {database.name}", _note_owner(database))
        return
    giving = SQL("ALTER DATABASE {} OWNER TO {}").format(
        Identifier(database.name), Identifier(database.owner)
    )
    yield Sql(
        SUPERUSER,
        f"giving database {database.name} to user {database.owner}",
        (giving, *_note_owner(database)),
    )


def _note_made(database: Database) -> tuple[Composed, ...]:
    return ledger.set_made(ledger.DATABASE_STATE, database.name, database.number)


def _note_owner(database: Database) -> tuple[Composed, ...]:
    if not database.owner:
        return ()
    value = _owner_in_ledger(database)
    return ledger.set_state(ledger.DATABASE_STATE, database.name, ledger.OWNED_BY, value)


def _owner_in_ledger(database: Database) -> str:
    return f"{database.owner}.{database.number}" if database.owner else ""
