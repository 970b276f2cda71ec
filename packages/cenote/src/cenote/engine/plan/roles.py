"""The roles that were created through the API.

Customers may create roles by SQL, too: only a role in our ledger (``cenote.made``) is ever dropped
(``dropped_roles.py``).  And they may change ours by SQL: password, LOGIN, VALID UNTIL, attributes, name.  So
what the record says of a role is written when the record has changed since it was last written, by the
ledger, and a role that SQL has dropped or renamed is not made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg.sql import SQL, Composed, Identifier, Literal

from cenote.conf.hba import SUPERUSER
from cenote.engine.plan import ledger
from cenote.engine.plan.context import NodeContext
from cenote.engine.plan.ledger import NOTHING_NOTED, State
from cenote.model.changes import Plan, Sql
from cenote.model.records import ADMIN_USER, User, UserRole
from cenote.rules import sql_changes

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
    and grant it.  ``expires_in``: seconds until its VALID UNTIL, negative after it; None without one.
    """

    verifier: str | None = field(repr=False)
    can_login: bool
    superuser: bool
    fits_admin: bool
    replication: bool = False
    administered: bool = True
    oid: int = 0
    expires_in: float | None = None
    connection_limit: int = -1

    @property
    def expired(self) -> bool:
        return self.expires_in is not None and self.expires_in <= 0


@dataclass(frozen=True, slots=True)
class Seen:
    """``made`` are the roles in the ledger, ``state`` is what of the record was brought about."""

    roles: dict[str, Role]
    made: frozenset[str]
    state: State = NOTHING_NOTED


def plan(context: NodeContext, seen: Seen) -> Plan:
    for user in context.cluster.users:
        if is_gone(user, seen):
            continue
        statements = _statements(user, seen)
        if int(context.version) >= _ADMINISTERED_SINCE:
            statements += _administered(user, seen)
        if statements:
            yield Sql(SUPERUSER, f"setting up user {user.name}", tuple(statements))


def is_gone(user: User, seen: Seen) -> bool:
    """Return whether a user's role was made for this record of it, and SQL has dropped or renamed it since.

    A role is noted in the transaction that makes it.  One without a verifier was made by SQL.
    """
    if user.name in seen.roles:
        return False
    made = seen.state.made(user.name)
    number = 0 if made is None else made.number
    return not user.verifier or (user.name in seen.made and number == user.number)


def _statements(user: User, seen: Seen) -> list[SQL | Composed]:
    role, name = seen.roles.get(user.name), Identifier(user.name)
    statements = _login(user, role, seen)
    statements += _replication(user, role, seen)
    made = seen.state.made(user.name)
    if role is None or made is None or (made.oid, made.number) != (role.oid, user.number):
        statements += ledger.set_made(ledger.ROLE_STATE, user.name, user.number)
        if made is not None and (role is None or made.oid != role.oid):
            statements.append(ledger.forget_grants_of_user(user.name))
    if user.name not in seen.made:
        statements.append(ledger.note(ledger.ROLE, user.name))
    if role is not None and role.superuser:
        statements.append(SQL("ALTER ROLE {} NOSUPERUSER").format(name))
    return statements


def _login(user: User, role: Role | None, seen: Seen) -> list[SQL | Composed]:
    wanted = sql_changes.login_of(user)
    if not user.verifier or (role is not None and seen.state.of(user.name, ledger.LOGIN) == wanted):
        return []
    name, verifier = Identifier(user.name), Literal(user.verifier)
    attributes = _ADMIN if user.role is UserRole.PRIMARY else _NORMAL
    statements: list[SQL | Composed] = []
    if role is None:
        statements.append(SQL("CREATE ROLE {} {} PASSWORD {}").format(name, attributes, verifier))
    elif (
        role.verifier != user.verifier
        or not role.can_login
        or role.expired
        or (user.role is UserRole.PRIMARY and not role.fits_admin)
    ):
        validity = SQL(" VALID UNTIL 'infinity'" if role.expired else "")
        altering = SQL("ALTER ROLE {} {} PASSWORD {}{}")
        statements.append(altering.format(name, attributes, verifier, validity))
    return statements + list(ledger.set_state(ledger.ROLE_STATE, user.name, ledger.LOGIN, wanted))


def _replication(user: User, role: Role | None, seen: Seen) -> list[SQL | Composed]:
    wants, wanted = user.allow_replication, f"{user.allow_replication}.{user.number}"
    if user.role is not UserRole.NORMAL or wants is None:
        return []
    if role is not None and seen.state.of(user.name, ledger.REPLICATION) == wanted:
        return []
    statements: list[SQL | Composed] = []
    if wants != (role is not None and role.replication):
        attribute = _REPLICATION if wants else _NO_REPLICATION
        statements.append(SQL("ALTER ROLE {} {}").format(Identifier(user.name), attribute))
        if not wants:
            statements.append(_END_REPLICATION.format(Literal(user.name)))
    return statements + list(ledger.set_state(ledger.ROLE_STATE, user.name, ledger.REPLICATION, wanted))


def _administered(user: User, seen: Seen) -> list[Composed]:
    role = seen.roles.get(user.name)
    if user.role is UserRole.PRIMARY or (role is not None and role.administered):
        return []
    return [_ADMINISTERED.format(Identifier(user.name), Identifier(ADMIN_USER))]
