"""The ledger of what we created on a server: the table ``cenote.made`` of the database ``postgres``.

Beside roles and databases it lists grants, each as ``user/database/what`` (names in the record have no
slash); what drops leave: roles that own what deleted users owned, and databases opened for a moment; and the
layout of the system objects, with the databases that an upgrade has brought to it (``upgrade.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Literal

from cenote.model.records import Cluster, RemovalKind

ROLE, DATABASE, OWNER, OPENED = "role", "database", "owner", "opened"
LAYOUT, MOVED = "layout", "moved"
PRESENT_LAYOUT = "2"  # of ``system_objects.py``; servers of the first one have no mark
_KINDS = {RemovalKind.USER: ROLE, RemovalKind.DATABASE: DATABASE}


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


def forget_user(name: str) -> Composed:
    """A later role of the same name has none of these grants."""
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = {}").format(
        Literal(name)
    )


def forget_database(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = {}").format(
        Literal(name)
    )
