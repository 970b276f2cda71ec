"""The ledger of what we created on a server: the table ``cenote.made`` of the database ``postgres``.

Beside roles and databases it lists grants, each as ``user/database/what`` (names in the record have no
slash); what drops leave: roles that own what deleted users owned, databases opened for a moment, and the
removals that were carried out; and the layout of the system objects, with the databases that an upgrade has
brought to it (``upgrade.py``).

A record may be older than the server, as after a restore of the store.  So what it does not name is no
evidence: only what it says was removed is dropped, and only once for each removal.  The rest is adopted into
the record (``adoption.py``).

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
REMOVED = "removed"  # removals that were carried out, as ``time/id``
REMOVED_DAYS, MOST_REMOVED = 30, 20_000  # for which these are kept, and how many: no older record comes back
LAYOUT, MOVED = "layout", "moved"
PRESENT_LAYOUT = "2"  # of ``system_objects.py``; servers of the first one have no mark
MAKERS = "makers"  # of the objects that grants cover
MIGRATION = "migration"  # how far an online migration is, as ``id/mark``
ROLE_STATE, DATABASE_STATE = "role-state", "database-state"
OID, LOGIN, REPLICATION, OWNED_BY = "oid", "login", "replication", "owner"  # aspects
_KINDS = {RemovalKind.USER: ROLE, RemovalKind.DATABASE: DATABASE}
_OID_OF = {
    ROLE_STATE: SQL("SELECT oid FROM pg_roles WHERE rolname = {}"),
    DATABASE_STATE: SQL("SELECT oid FROM pg_database WHERE datname = {}"),
}
_FINISH = SQL(
    """
WITH noted AS (
    INSERT INTO cenote.made SELECT {removed}, to_hex(extract(epoch FROM now())::bigint) || '/' || id
    FROM unnest({ids}::text[]) AS id ON CONFLICT DO NOTHING
), outdated AS (
    DELETE FROM cenote.made
    WHERE kind = {removed} AND name < greatest(
        to_hex((extract(epoch FROM now()) - {seconds})::bigint),
        (SELECT name FROM cenote.made WHERE kind = {removed} ORDER BY name DESC OFFSET {most} LIMIT 1)
    )
)
DELETE FROM cenote.made WHERE kind = {kind} AND name = {name}
"""
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The names in the ledger, by kind."""

    names: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, kind: str) -> frozenset[str]:
        return self.names.get(kind, frozenset())

    def leftover(self, cluster: Cluster, kind: RemovalKind) -> list[str]:
        """Return what we made and the record has removed, sorted."""
        return sorted(self._unnamed(cluster, kind) & self._removed(cluster, kind))

    def unrecorded(self, cluster: Cluster, kind: RemovalKind) -> list[str]:
        """Return what we made and the record neither has nor has removed, sorted."""
        return sorted(self._unnamed(cluster, kind) - self._removed(cluster, kind))

    def _unnamed(self, cluster: Cluster, kind: RemovalKind) -> frozenset[str]:
        things: Iterable[str] = (thing.name for thing in cluster.users)
        if kind is RemovalKind.DATABASE:
            things = (thing.name for thing in cluster.databases)
        return self.of(_KINDS[kind]) - set(things)

    def _removed(self, cluster: Cluster, kind: RemovalKind) -> set[str]:
        """Return the names that the record has removed, unless the server has dropped them for that."""
        done = {row.rpartition("/")[2] for row in self.of(REMOVED)}
        return {one.name for one in cluster.removing if one.kind is kind and str(one.id) not in done}


NOTHING_MADE = Ledger()


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


def finish_removal(cluster: Cluster, kind: RemovalKind, name: str) -> Composed:
    """Return one statement that forgets a thing, and notes that the removals of its name were carried out."""
    ids = [str(one.id) for one in cluster.removing if (one.kind, one.name) == (kind, name)]
    return _FINISH.format(
        removed=Literal(REMOVED),
        ids=Literal(ids),
        seconds=Literal(REMOVED_DAYS * 86_400),
        most=Literal(MOST_REMOVED),
        kind=Literal(_KINDS[kind]),
        name=Literal(name),
    )


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
