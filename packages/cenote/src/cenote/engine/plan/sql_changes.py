"""What SQL has changed on a server of what the record says, and made beside it: for the report and the pools.

PgBouncer checks passwords itself and keeps server connections for the next client, so it knows nothing of
LOGIN, VALID UNTIL, CONNECT and the like.  What is found here decides whom it admits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from cenote.engine.plan import databases, roles
from cenote.engine.plan.databases import Found
from cenote.engine.plan.ledger import LOGIN, Made
from cenote.engine.plan.roles import Role
from cenote.model.by_sql import NOTHING, BySql, SeenDatabase, SeenRole
from cenote.model.migrations import ROLE
from cenote.model.records import Cluster, Database, User
from cenote.rules.names import is_server_name
from cenote.rules.sql_changes import MAX_LISTED, logins

_SCRAM = "SCRAM-SHA-256$"
# PostgreSQL stores what any user sets for itself, if it reads as a verifier.  It skips white space and before
# version 18 knows no limit of length.  PgBouncer reads no line of its auth_file after one that is too long.
_VERIFIER = re.compile(r"SCRAM-SHA-256\$[1-9][0-9]{0,8}:[A-Za-z0-9+/]+=*\$[A-Za-z0-9+/]+=*:[A-Za-z0-9+/]+=*")
_MOST_CHARACTERS = 512  # PostgreSQL's limit since version 18


@dataclass(frozen=True, slots=True)
class Changes:
    """``expires_in``: seconds until the next role's VALID UNTIL, after which this is out of date."""

    by_sql: BySql = NOTHING
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """``refused`` has the roles that may not connect to a database, by database."""

    roles: roles.Seen
    databases: databases.Seen
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)


def changes(cluster: Cluster, seen: Seen) -> Changes:
    by_sql = BySql(
        roles=(*_users(cluster, seen.roles), *_made_roles(cluster, seen.roles)),
        groups=tuple(name for name, role in _others(cluster, seen.roles) if not role.can_login)[:MAX_LISTED],
        databases=(*_databases(cluster, seen.databases), *_made_databases(cluster, seen.databases)),
    )
    by_sql = _with_privileges(by_sql, logins(cluster, by_sql), seen.refused)
    left = [
        role.expires_in
        for role in seen.roles.roles.values()
        if role.can_login and role.expires_in is not None and not role.expired
    ]
    return Changes(by_sql, min(left, default=None))


def _with_privileges(by_sql: BySql, users: Collection[str], refused: Mapping[str, Collection[str]]) -> BySql:
    """Add who of these users may not connect to a database, or who may, if that is shorter."""
    out, inside = {}, {}
    for database, names in refused.items():
        kept_out = tuple(sorted(set(users).intersection(names)))
        let_in = tuple(sorted(set(users).difference(names)))
        if len(let_in) < len(kept_out):
            inside[database] = let_in
        elif kept_out:
            out[database] = kept_out
    return replace(by_sql, refused=out, admitted=inside)


# -- Roles


def _users(cluster: Cluster, seen: roles.Seen) -> Iterator[SeenRole]:
    """Yield the users of the record of which something differs."""
    oids = {role.oid: name for name, role in seen.roles.items()}
    for user in cluster.users:
        role = seen.roles.get(user.name)
        if role is not None and _differs(user, role):
            yield SeenRole(
                name=user.name,
                closed=_why_closed(role),
                verifier=_usable_verifier(role),
                replication=role.replication,
                applied=seen.state.of(user.name, LOGIN),
                number=user.number,
            )
        elif roles.is_gone(user, seen):
            gone = _why_gone(seen.state.made(user.name), oids)
            yield SeenRole(name=user.name, gone=gone, number=user.number)


def _differs(user: User, role: Role) -> bool:
    replicates = user.allow_replication is not None and user.allow_replication != role.replication
    return bool(_why_closed(role)) or role.verifier != user.verifier or replicates


def _made_roles(cluster: Cluster, seen: roles.Seen) -> tuple[SeenRole, ...]:
    return tuple(
        SeenRole(name=name, listed=True, closed=_why_closed(role), verifier=_usable_verifier(role))
        for name, role in _others(cluster, seen)
        if role.can_login
    )[:MAX_LISTED]


def _others(cluster: Cluster, seen: roles.Seen) -> Iterator[tuple[str, Role]]:
    """Yield the roles that SQL made.

    Those in the ledger that the record has no more are being dropped.
    """
    known = {user.name for user in cluster.users} | seen.made | {ROLE}
    for name, role in sorted(seen.roles.items()):
        if name not in known and not role.superuser and is_server_name(name):
            yield name, role


def _usable_verifier(role: Role) -> str:
    """Return the verifier; "" for none, for MD5, which neither server takes, and for an odd one."""
    verifier = role.verifier or ""
    return verifier if len(verifier) <= _MOST_CHARACTERS and _VERIFIER.fullmatch(verifier) else ""


def _why_closed(role: Role) -> str:
    if not role.can_login:
        return "may not log in (NOLOGIN)"
    if role.expired:
        return "may not log in any more (VALID UNTIL)"
    if role.connection_limit == 0:
        return "may not connect (CONNECTION LIMIT 0)"
    if not role.verifier:
        return "has no password (PASSWORD NULL)"
    if not role.verifier.startswith(_SCRAM):
        return "has a password that is stored as MD5, which no login takes"
    return "" if _usable_verifier(role) else "has a password that is stored in a form that pools do not take"


# -- Databases


def _databases(cluster: Cluster, seen: databases.Seen) -> Iterator[SeenDatabase]:
    """Yield the databases of the record of which something differs."""
    oids = {found.oid: name for name, found in seen.databases.items()}
    for database in cluster.databases:
        found = seen.databases.get(database.name)
        if found is not None and (_why_shut(found) or _has_other_owner(database, found)):
            yield SeenDatabase(
                name=database.name, closed=_why_shut(found), owner=found.owner, number=database.number
            )
        elif databases.is_gone(database, seen):
            gone = _why_gone(seen.state.made(database.name), oids)
            yield SeenDatabase(name=database.name, gone=gone, number=database.number)


def _has_other_owner(database: Database, found: Found) -> bool:
    return bool(database.owner) and database.owner != found.owner


def _made_databases(cluster: Cluster, seen: databases.Seen) -> tuple[SeenDatabase, ...]:
    known = {database.name for database in cluster.databases} | seen.made
    return tuple(
        SeenDatabase(name=name, listed=True, closed=_why_shut(found), owner=found.owner)
        for name, found in sorted(seen.databases.items())
        if name not in known and is_server_name(name)
    )[:MAX_LISTED]


def _why_shut(found: Found) -> str:
    if not found.allows_connections:
        return "takes no connections (ALLOW_CONNECTIONS false)"
    return "takes no connections (CONNECTION LIMIT 0)" if found.connection_limit == 0 else ""


def _why_gone(made: Made | None, names: Mapping[int, str]) -> str:
    name = "" if made is None else names.get(made.oid, "")
    return f"was renamed to {name!r} by SQL" if name else "was dropped by SQL"
