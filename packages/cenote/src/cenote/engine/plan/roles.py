"""The roles that were created through the API.

Customers may create roles by SQL, too: only a role in our ledger (``cenote.made``) is ever dropped
(``dropped_roles.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Sql
from cenote.model.records import ADMIN_USER, User, UserRole

_ADMIN = SQL("LOGIN NOSUPERUSER CREATEROLE CREATEDB REPLICATION BYPASSRLS")
_NORMAL = SQL("LOGIN NOSUPERUSER")
_REPLICATION, _NO_REPLICATION = SQL("REPLICATION"), SQL("NOREPLICATION")
# Since PostgreSQL 16 CREATEROLE gives no rights over roles that others created.
_ADMINISTERED_SINCE = 16
_ADMINISTERED = SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
# The server checks the attribute at connection time only.
_END_REPLICATION = SQL(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender' AND usename = {}"
)


@dataclass(frozen=True, slots=True)
class Role:
    """A role on the server.

    ``fits_admin``: it has all attributes of the administrator.  ``administered``: the administrator may alter
    and grant it.
    """

    verifier: str | None = field(repr=False)
    can_login: bool
    superuser: bool
    fits_admin: bool
    replication: bool = False
    administered: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    roles: dict[str, Role]
    made: frozenset[str]


def plan(context: NodeContext, seen: Seen) -> Plan:
    for user in context.cluster.users:
        statements = _statements(user, seen)
        if int(context.cluster.version) >= _ADMINISTERED_SINCE:
            statements += _administered(user, seen)
        if statements:
            yield Sql(SUPERUSER, f"setting up user {user.name}", tuple(statements))


def _statements(user: User, seen: Seen) -> list[SQL | Composed]:
    role, attributes = seen.roles.get(user.name), _ADMIN if user.role is UserRole.PRIMARY else _NORMAL
    name, verifier = Identifier(user.name), Literal(user.verifier)
    statements: list[SQL | Composed] = []
    if role is None:
        statements.append(SQL("CREATE ROLE {} {} PASSWORD {}").format(name, attributes, verifier))
    elif (
        role.verifier != user.verifier
        or not role.can_login
        or role.superuser
        or (user.role is UserRole.PRIMARY and not role.fits_admin)
    ):
        statements.append(SQL("ALTER ROLE {} {} PASSWORD {}").format(name, attributes, verifier))
    wants = user.allow_replication
    if (
        user.role is UserRole.NORMAL
        and wants is not None
        and wants != (role is not None and role.replication)
    ):
        statements.append(SQL("ALTER ROLE {} {}").format(name, _REPLICATION if wants else _NO_REPLICATION))
        if not wants:
            statements.append(_END_REPLICATION.format(Literal(user.name)))
    if user.name not in seen.made:
        statements.append(SQL("INSERT INTO cenote.made VALUES ('role', {})").format(Literal(user.name)))
    return statements


def _administered(user: User, seen: Seen) -> list[Composed]:
    role = seen.roles.get(user.name)
    if user.role is UserRole.PRIMARY or (role is not None and role.administered):
        return []
    return [_ADMINISTERED.format(Identifier(user.name), Identifier(ADMIN_USER))]
