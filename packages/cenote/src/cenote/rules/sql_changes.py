"""What SQL has changed of a cluster's record, by the agent's report: who may log in, what is gone or new.

The record says what the API was asked for, and the report what SQL did since.  A change of the record that
is newer than what the report was compared with counts more than the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.model.by_sql import NOTHING, BySql, SeenDatabase, SeenRole
from cenote.model.records import Cluster, Database, Pool, RemovalKind, User
from cenote.model.status_records import NodeStatus
from cenote.rules.names import quoted

MAX_LISTED = 1_000  # roles, and databases, that SQL made and that are listed


def of(seen: NodeStatus | None) -> BySql:
    return NOTHING if seen is None else seen.by_sql


def login_of(user: User) -> str:
    """Return what stands in the ledger when a user's login was brought about: its password and attributes."""
    text = f"{user.role} {user.verifier}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def role_of(user: User, found: BySql) -> SeenRole | None:
    """Return what SQL has changed of a user; None if nothing, or if the record has changed since."""
    role = found.role(user.name)
    if role is None:
        return None
    if role.gone:
        return role if role.number == user.number else None
    # With a password of the record's that the server did not have yet, the login is opened again.
    return role if not user.verifier or role.applied == login_of(user) else None


def knows_password(user: User, found: BySql) -> bool:
    """Return whether the password of the record is the one that the user has."""
    role = role_of(user, found)
    return bool(user.verifier) and (role is None or bool(role.gone) or role.verifier == user.verifier)


def database_of(database: Database, found: BySql) -> SeenDatabase | None:
    """Return what SQL has changed of a database; None if nothing, or if the record has changed since."""
    seen = found.database(database.name)
    return None if seen is None or (seen.gone and seen.number != database.number) else seen


# -- What is on the server


def users(cluster: Cluster, found: BySql) -> tuple[User, ...]:
    """Return the users of the record, and the roles that SQL made and that can log in."""
    known = {user.name for user in cluster.users}
    made = (role.name for role in found.roles if role.listed and role.name not in known)
    return (*cluster.users, *(User(name=name, verifier="", sealed_password="") for name in made))


def databases(cluster: Cluster, found: BySql) -> tuple[Database, ...]:
    """Return the databases of the record, and those that SQL made."""
    known = {database.name for database in cluster.databases}
    made = (one.name for one in found.databases if one.listed and one.name not in known)
    return (*cluster.databases, *(Database(name=name) for name in made))


def user(cluster: Cluster, name: str, found: BySql) -> User | None:
    return next((one for one in users(cluster, found) if one.name == name), None)


def database(cluster: Cluster, name: str, found: BySql) -> Database | None:
    return next((one for one in databases(cluster, found) if one.name == name), None)


def is_known(cluster: Cluster, kind: RemovalKind, name: str, found: BySql) -> bool:
    """Return whether there is such a user or database in the record, or was at the last look."""
    known = user if kind is RemovalKind.USER else database
    return known(cluster, name, found) is not None


def with_user(cluster: Cluster, name: str, found: BySql) -> Cluster:
    """Return the cluster with this user in its record; NotFound without one, Invalid if it is gone."""
    named = user(cluster, name, found)
    if named is None:
        raise NotFound
    role = role_of(named, found)
    if role is not None and role.gone:
        raise Invalid(f"user {name!r} {role.gone}. POST of the same name creates it again.")
    return cluster if cluster.user(name) is not None else replace(cluster, users=(*cluster.users, named))


def with_listed(cluster: Cluster, kind: RemovalKind, name: str, found: BySql) -> Cluster:
    """Return the cluster with what SQL made under this name in its record; itself without that."""
    if kind is RemovalKind.USER:
        made = user(cluster, name, found)
        is_known = made is None or cluster.user(name) is not None
        return cluster if is_known else replace(cluster, users=(*cluster.users, made))
    there = database(cluster, name, found)
    is_known = there is None or cluster.database(name) is not None
    return cluster if is_known else replace(cluster, databases=(*cluster.databases, there))


# -- Pools


def logins(cluster: Cluster, found: BySql) -> dict[str, str]:
    """Return the verifier of each user that may log in to pools."""
    verifiers = {}
    for one in users(cluster, found):
        role = role_of(one, found)
        verifier = one.verifier if role is None else role.verifier
        if verifier and not (role is not None and (role.gone or role.closed)):
            verifiers[one.name] = verifier
    return verifiers


def users_of_server(cluster: Cluster, found: BySql) -> list[str]:
    """Return the users as whom PgBouncer may reach the server."""
    return [one.name for one in users(cluster, found)]


def pool_databases(cluster: Cluster, found: BySql) -> frozenset[str]:
    """Return the databases that clients reach through PgBouncer."""
    if cluster.configuration.pgbouncer.get("autodb_pool_size"):
        return frozenset(one.name for one in databases(cluster, found))
    return frozenset(pool.database for pool in cluster.pools)


def shut_databases(found: BySql) -> frozenset[str]:
    """Return the databases that are there and take no new connections."""
    return frozenset(one.name for one in found.databases if one.closed and not one.gone)


def pool_problem(cluster: Cluster, pool: Pool, found: BySql) -> str:
    """Return in words why a pool rejects all clients, as far as SQL has brought that about; else ""."""
    named = database(cluster, pool.database, found)
    if named is None:
        return f"there is no database {quoted(pool.database)} any more"
    seen = database_of(named, found)
    if seen is not None and (seen.gone or seen.closed):
        return f"database {pool.database!r} {seen.gone or seen.closed}"
    if not pool.user:
        return ""
    acting = user(cluster, pool.user, found)
    if acting is None:
        return f"there is no user {quoted(pool.user)} any more"
    role = role_of(acting, found)
    if role is not None and (role.gone or role.closed):
        return f"user {pool.user!r} {role.gone or role.closed}"
    if found.refuses(pool.database, pool.user):
        return f"user {pool.user!r} may not connect to database {pool.database!r} (REVOKE CONNECT)"
    return ""


# -- In words


def in_words(cluster: Cluster, found: BySql) -> list[str]:
    """Describe what the record has and SQL has taken away: for ``cenote.by_sql`` of the cluster."""
    return [*_gone(cluster, found), *_shut_pools(cluster, found)]


def _gone(cluster: Cluster, found: BySql) -> Iterator[str]:
    again = "POST of the same name creates it again, DELETE removes it from the list"
    for one in cluster.users:
        role = role_of(one, found)
        if role is not None and role.gone:
            yield f"user {one.name!r} {role.gone}; {again}"
    for base in cluster.databases:
        seen = database_of(base, found)
        if seen is not None and seen.gone:
            yield f"database {base.name!r} {seen.gone}; {again}"


def _shut_pools(cluster: Cluster, found: BySql) -> Iterator[str]:
    for pool in cluster.pools:
        problem = pool_problem(cluster, pool, found)
        if problem:
            yield f"pool {pool.name!r} rejects all clients: {problem}"
