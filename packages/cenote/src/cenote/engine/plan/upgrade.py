"""Moving the system objects of a server that a former version created (``system_objects.py``).

The ledger of the template says which layout it has.  On a server without that mark each database is upgraded
and noted in the ledger; the mark follows once a look finds no database left.  An open transaction that has
read ``pg_stat_statements`` blocks the upgrade of its database, and one that accepts no connections is left
closed; the next passes try again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger, system_objects
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Sql

TEMPLATE = "template1"


@dataclass(frozen=True, slots=True)
class Seen:
    """``databases``: whether each accepts connections; none where the server has the present layout.

    ``moved`` are those that are done.
    """

    databases: dict[str, bool] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()


def plan(_context: NodeContext, seen: Seen) -> Plan:
    if not seen.databases:
        return
    left = seen.databases.keys() - seen.moved
    # Databases that are created from now on are copies of the template, so it comes first.  Those that a
    # customer's lock can hold up come last.
    for name in sorted(left, key=lambda name: (name != TEMPLATE, name != SUPERUSER, name)):
        if name == SUPERUSER:
            yield _open_postgres()
        elif seen.databases[name]:
            move = SQL(system_objects.MOVE_STATEMENTS)
            yield Sql(name, f"moving system objects in database {name}", (move,))
            yield Sql(SUPERUSER, f"noting database {name}", (ledger.note(ledger.MOVED, name),))
    if seen.databases.get(TEMPLATE):
        yield Sql(SUPERUSER, f"closing database {TEMPLATE}", (SQL(system_objects.CLOSE_TEMPLATE),))
    elif not left:
        done = ledger.note(ledger.LAYOUT, ledger.PRESENT_LAYOUT), ledger.forget_kind(ledger.MOVED)
        yield Sql(SUPERUSER, "noting the layout of the system objects", done)


def _open_postgres() -> Sql:
    statements: list[SQL | Composed] = [SQL(statement) for statement in system_objects.OPEN_POSTGRES]
    statements.append(ledger.note(ledger.MOVED, SUPERUSER))
    return Sql(SUPERUSER, "opening the database postgres to customers", tuple(statements))
