"""Validation of users, and changes to a cluster's list of them."""

from __future__ import annotations

from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.model.records import ADMIN_USER, Access, Cluster, RemovalKind, User
from cenote.model.status_records import NodeStatus
from cenote.rules import removals, sql_changes
from cenote.rules.names import check_unused, quoted, server_name

MAX_USERS = 1_000  # the whole cluster is one record, and etcd limits a record to 1.5 MiB


def user_name(name: str) -> str:
    return server_name("user", name)


def add_user(cluster: Cluster, user: User, seen: NodeStatus | None = None) -> Cluster:
    """Add a user; Busy while one of this name is being removed, as far as ``seen`` tells.

    A role that SQL made and that can log in becomes this user; one of the record that SQL has dropped is
    created again.
    """
    user_name(user.name)
    found = sql_changes.of(seen)
    if (former := cluster.user(user.name)) is not None:
        role = sql_changes.role_of(former, found)
        if role is None or not role.gone:
            raise Invalid("user name is not available")
        again = replace(user, role=former.role, number=former.number + 1)
        return replace(cluster, users=tuple(again if one is former else one for one in cluster.users))
    if user.name in found.groups:
        raise Invalid("user name is not available: SQL made a role of this name that cannot log in.")
    if (count := len(cluster.users) + removals.count(cluster, RemovalKind.USER, seen)) >= MAX_USERS:
        raise Invalid(f"a cluster has at most {MAX_USERS} users, and this one has {count}.")
    cluster = removals.free_name(cluster, RemovalKind.USER, user.name, seen)
    return replace(cluster, users=(*cluster.users, user))


def change_password(
    cluster: Cluster, name: str, *, verifier: str, sealed_password: str, seen: NodeStatus | None = None
) -> Cluster:
    """Give a user another password, which opens its login again; also one that SQL made."""
    cluster = sql_changes.with_user(cluster, name, sql_changes.of(seen))
    before = cluster.user(name)
    assert before is not None
    after = replace(before, verifier=verifier, sealed_password=sealed_password)
    return replace(cluster, users=tuple(after if user is before else user for user in cluster.users))


def access(text: str) -> Access:
    try:
        return Access(text)
    except ValueError:
        raise Invalid(f"cenote.access: {quoted(text)} is not one of {', '.join(Access)}.") from None


def change_user(
    cluster: Cluster,
    name: str,
    *,
    allow_replication: bool | None,
    access: Access | None,
    sets_access: bool,
    seen: NodeStatus | None = None,
) -> Cluster:
    """Change a user's privileges; replication stays with None, the preset unless ``sets_access``.

    Also those of a user that SQL made.
    """
    found = sql_changes.of(seen)
    cluster = sql_changes.with_user(cluster, name, found)
    before = cluster.user(name)
    assert before is not None
    if name == ADMIN_USER and allow_replication is False:
        raise Invalid(f"settings.pg_allow_replication: {ADMIN_USER!r} can always replicate.")
    if name == ADMIN_USER and access is not None:
        raise Invalid(
            f"cenote.access: {ADMIN_USER!r} cannot have a preset: it can grant itself any privilege."
        )
    after = replace(
        before,
        allow_replication=before.allow_replication if allow_replication is None else allow_replication,
        access=access if sets_access else before.access,
    )
    role = sql_changes.role_of(before, found)
    if allow_replication is not None and role is not None and role.replication != allow_replication:
        after = replace(after, number=before.number + 1)  # SQL has changed it, and it is asked for again
    return replace(cluster, users=tuple(after if user is before else user for user in cluster.users))


def remove_user(cluster: Cluster, name: str, seen: NodeStatus | None = None) -> Cluster:
    if cluster.user(name) is None:
        raise NotFound
    if name == ADMIN_USER:
        raise Invalid(f"user {ADMIN_USER!r} can't be deleted: the cluster is managed through it.")
    check_unused(f"user {name!r}", [pool.name for pool in cluster.pools if pool.user == name])
    return replace(
        removals.begin(cluster, RemovalKind.USER, name, seen),
        users=tuple(user for user in cluster.users if user.name != name),
        # The administrator becomes the owner of the user's databases.
        databases=tuple(
            replace(database, owner="") if database.owner == name else database
            for database in cluster.databases
        ),
    )
