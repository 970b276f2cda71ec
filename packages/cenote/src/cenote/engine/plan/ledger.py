"""The ledger of what we created on a server: the table ``cenote.made`` of the database ``postgres``.

Beside roles and databases it lists grants, each as ``user/database/what`` (names in the record have no
slash); what drops leave: roles that own what deleted users owned, and databases opened for a moment; and the
layout of the system objects, with the databases that an upgrade has brought to it (``upgrade.py``).

It also says what of the record was brought about, as ``name/aspect/value``.  An attribute is written to the
server when the record has changed since, and not because the server differs: then SQL has changed it, and
what an administrator does by SQL stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composable, Composed, Literal

from cenote.model.records import Cluster, RemovalKind

ROLE, DATABASE, OWNER, OPENED = "role", "database", "owner", "opened"
LAYOUT, MOVED = "layout", "moved"
PRESENT_LAYOUT = "2"  # of ``system_objects.py``; servers of the first one have no mark
MAKERS = "makers"  # of the objects that grants cover
ROLE_STATE, DATABASE_STATE = "role-state", "database-state"
OID, LOGIN, REPLICATION, OWNED_BY = "oid", "login", "replication", "owner"  # aspects
_KINDS = {RemovalKind.USER: ROLE, RemovalKind.DATABASE: DATABASE}
_OID_OF = {
    ROLE_STATE: SQL("SELECT oid FROM pg_roles WHERE rolname = {}"),
    DATABASE_STATE: SQL("SELECT oid FROM pg_database WHERE datname = {}"),
}


@dataclass(frozen=True, slots=True)
class Ledger:
    """The names in the ledger, by kind."""

    names: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, kind: str) -> frozenset[str]:
        return self.names.get(kind, frozenset())

    def leftover(self, cluster: Cluster, kind: RemovalKind) -> list[str]:
        """Return what we made and the record has no more, sorted."""
        things: Iterable[str] = (thing.name for thing in cluster.users)
        if kind is RemovalKind.DATABASE:
            things = (thing.name for thing in cluster.databases)
        return sorted(self.of(_KINDS[kind]) - set(things))


@dataclass(frozen=True, slots=True)
class Made:
    """What was created as a thing of the record: its oid, and the number that the record had."""

    oid: int
    number: int


@dataclass(frozen=True, slots=True)
class State:
    """What of the record was brought about, by name and aspect."""

    values: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: Iterable[str]) -> State:
        """Return the state that these rows of the ledger say."""
        return cls({(name, aspect): value for name, aspect, value in (row.split("/", 2) for row in rows)})

    def of(self, name: str, aspect: str) -> str:
        return self.values.get((name, aspect), "")

    def made(self, name: str) -> Made | None:
        """Return what was created for a name; None if that was never noted, as by earlier versions."""
        oid, _, number = self.of(name, OID).partition(".")
        return Made(int(oid), int(number)) if oid.isdigit() and number.isdigit() else None


NOTHING_NOTED = State()


def set_state(kind: str, name: str, aspect: str, value: str) -> tuple[Composed, ...]:
    """Return statements that note the value of an aspect."""
    return _set_state(kind, name, aspect, Literal(value))


def set_made(kind: str, name: str, number: int) -> tuple[Composed, ...]:
    """Return statements that note the oid of what now has this name."""
    oid = SQL("({}) || {}").format(_OID_OF[kind].format(Literal(name)), Literal(f".{number}"))
    return _set_state(kind, name, OID, oid)


def forget_state(kind: str, name: str, aspect: str = "") -> Composed:
    """Return a statement that forgets one aspect, or all that was brought about of this name."""
    prefix = f"{name}/{aspect}/" if aspect else f"{name}/"
    forgetting = SQL("DELETE FROM cenote.made WHERE kind = {} AND starts_with(name, {})")
    return forgetting.format(Literal(kind), Literal(prefix))


def _set_state(kind: str, name: str, aspect: str, value: Composable) -> tuple[Composed, ...]:
    noting = SQL("INSERT INTO cenote.made VALUES ({}, {} || {})")
    prefix = Literal(f"{name}/{aspect}/")
    return forget_state(kind, name, aspect), noting.format(Literal(kind), prefix, value)


def note(kind: str, name: str) -> Composed:
    return SQL("INSERT INTO cenote.made VALUES ({}, {}) ON CONFLICT DO NOTHING").format(
        Literal(kind), Literal(name)
    )


def forget(kind: str, name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = {} AND name = {}").format(Literal(kind), Literal(name))


def forget_kind(kind: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = {}").format(Literal(kind))


def note_grant(name: str) -> Composed:
    return note("grant", name)


def forget_grant(name: str) -> Composed:
    return forget("grant", name)


def forget_grants_of_user(name: str) -> Composed:
    """A later role of the same name has none of these grants."""
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = {}").format(
        Literal(name)
    )


def forget_grants_in_database(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = {}").format(
        Literal(name)
    )


def forget_user(name: str) -> tuple[Composed, ...]:
    return forget_grants_of_user(name), forget_state(ROLE_STATE, name)


def forget_database(name: str) -> tuple[Composed, ...]:
    return forget_grants_in_database(name), forget_state(DATABASE_STATE, name)
