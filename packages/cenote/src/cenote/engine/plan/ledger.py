"""Our book in each server, the table ``cenote.made`` of the database ``postgres``: what was made by us.

Beside roles and databases it names the grants that were carried out, each as ``user/database/what``; no name
that we make has a slash in it.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Literal


def note_grant(name: str) -> Composed:
    return SQL("INSERT INTO cenote.made VALUES ('grant', {}) ON CONFLICT DO NOTHING").format(Literal(name))


def forget_grant(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND name = {}").format(Literal(name))


def forget_user(name: str) -> Composed:
    """A role of this name that is made later has none of the grants of the one that goes."""
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = {}").format(
        Literal(name)
    )


def forget_database(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = {}").format(
        Literal(name)
    )
