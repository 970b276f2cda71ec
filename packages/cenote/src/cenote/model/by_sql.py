"""What SQL has changed on a server of what the record says of it, and made beside it, as an agent reports it.

Only what differs: a server that is as the record says has an empty report.
"""

from __future__ import annotations

from functools import cached_property

import msgspec


class SeenRole(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A user of the record that SQL has changed, or, if ``listed``, a role that SQL made and that can log in.

    ``gone`` and ``closed`` say in words that there is no such role any more, and why it may not log in.
    ``verifier`` is of the password that it has; empty without one that a login can be made with.
    ``applied`` and ``number`` tell what of the record this is compared with: see ``rules/sql_changes.py``.
    """

    name: str
    listed: bool = False
    gone: str = ""
    closed: str = ""
    verifier: str = ""
    replication: bool = False
    applied: str = ""
    number: int = 0

    def __repr__(self) -> str:
        return f"SeenRole(name={self.name!r}, gone={self.gone!r}, closed={self.closed!r})"


class SeenDatabase(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A database of the record that SQL has changed, or, if ``listed``, one that SQL made.

    ``gone`` and ``closed`` say in words that it is not there any more, and why it takes no connections.
    """

    name: str
    listed: bool = False
    gone: str = ""
    closed: str = ""
    owner: str = ""
    number: int = 0


class BySql(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, dict=True):
    """What SQL has changed and made.

    ``groups`` are roles that SQL made and that cannot log in.  ``refused`` has the users that may not connect
    to a database that pools use (``REVOKE CONNECT``), by database; ``admitted`` has instead the users that
    may, where these are fewer: of many databases, each may be for one of many users.
    """

    roles: tuple[SeenRole, ...] = ()
    groups: tuple[str, ...] = ()
    databases: tuple[SeenDatabase, ...] = ()
    refused: dict[str, tuple[str, ...]] = {}
    admitted: dict[str, tuple[str, ...]] = {}

    def role(self, name: str) -> SeenRole | None:
        return self._roles.get(name)

    def database(self, name: str) -> SeenDatabase | None:
        return self._databases.get(name)

    @cached_property
    def _roles(self) -> dict[str, SeenRole]:
        return {role.name: role for role in self.roles}

    @cached_property
    def _databases(self) -> dict[str, SeenDatabase]:
        return {database.name: database for database in self.databases}

    def refuses(self, database: str, user: str) -> bool:
        if database in self.admitted:
            return user not in self.admitted[database]
        return user in self.refused.get(database, ())


NOTHING = BySql()
