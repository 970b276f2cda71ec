"""The ledger of what we created on a server: the table ``cenote.made`` of the database ``postgres``.

Beside roles and databases it lists grants, each as ``user/database/what``; names in the record have no slash.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Literal


def note_grant(name: str) -> Composed:
    return SQL("INSERT INTO cenote.made VALUES ('grant', {}) ON CONFLICT DO NOTHING").format(Literal(name))


def forget_grant(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND name = {}").format(Literal(name))


def forget_user(name: str) -> Composed:
    """A later role of the same name has none of these grants."""
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 1) = {}").format(
        Literal(name)
    )


def forget_database(name: str) -> Composed:
    return SQL("DELETE FROM cenote.made WHERE kind = 'grant' AND split_part(name, '/', 2) = {}").format(
        Literal(name)
    )
