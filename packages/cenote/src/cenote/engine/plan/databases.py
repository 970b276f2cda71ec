"""The databases that were created through the API.

Customers may create databases by SQL, too: only a database in our ledger is ever dropped
(``dropped_databases.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Sql
from cenote.model.records import ADMIN_USER


@dataclass(frozen=True, slots=True)
class Seen:
    """``owners`` maps every existing database to its owner."""

    owners: dict[str, str]
    made: frozenset[str]


def plan(context: NodeContext, seen: Seen) -> Plan:
    names = {database.name for database in context.cluster.databases}
    # CREATE DATABASE cannot be in a transaction, so the ledger is written first: after a crash in between,
    # the next pass finds what is left to do.
    for name in sorted(names - seen.made):
        yield Sql(
            SUPERUSER,
            f"noting database {name}",
            (SQL("INSERT INTO cenote.made VALUES ('database', {})").format(Literal(name)),),
        )
    for database in sorted(context.cluster.databases, key=lambda database: database.name):
        named, owner = Identifier(database.name), Identifier(database.owner or ADMIN_USER)
        if database.name not in seen.owners:
            yield Sql(
                SUPERUSER,
                f"creating database {database.name}",
                (SQL("CREATE DATABASE {} OWNER {}").format(named, owner),),
                atomic=False,
            )
        elif database.owner and seen.owners[database.name] != database.owner:
            yield Sql(
                SUPERUSER,
                f"giving database {database.name} to user {database.owner}",
                (SQL("ALTER DATABASE {} OWNER TO {}").format(named, owner),),
            )
