"""Validation of users, and changes to a cluster's list of them."""

from __future__ import annotations

from msgspec.structs import replace

from cenote.errors import Invalid, NotFound
from cenote.model.records import ADMIN_USER, Access, Cluster, NodeStatus, RemovalKind, User
from cenote.rules import removals
from cenote.rules.names import check_unused, quoted, server_name

MAX_USERS = 1_000  # the whole cluster is one record, and etcd limits a record to 1.5 MiB


def user_name(name: str) -> str:
    return server_name("user", name)


def add_user(cluster: Cluster, user: User, seen: NodeStatus | None = None) -> Cluster:
    """Add a user; Busy while one of this name is being removed, as far as ``seen`` tells."""
    user_name(user.name)
    if cluster.user(user.name) is not None:
        raise Invalid("user name is not available")
    if (count := len(cluster.users) + removals.count(cluster, RemovalKind.USER, seen)) >= MAX_USERS:
        raise Invalid(f"a cluster has at most {MAX_USERS} users, and this one has {count}.")
    cluster = removals.free_name(cluster, RemovalKind.USER, user.name, seen)
    return replace(cluster, users=(*cluster.users, user))


def change_password(cluster: Cluster, name: str, *, verifier: str, sealed_password: str) -> Cluster:
    before = cluster.user(name)
    if before is None:
        raise NotFound
    after = replace(before, verifier=verifier, sealed_password=sealed_password)
    return replace(cluster, users=tuple(after if user is before else user for user in cluster.users))


def access(text: str) -> Access:
    try:
        return Access(text)
    except ValueError:
        raise Invalid(f"cenote.access: {quoted(text)} is not one of {', '.join(Access)}.") from None


def change_user(
    cluster: Cluster, name: str, *, allow_replication: bool | None, access: Access | None, sets_access: bool
) -> Cluster:
    """Change a user's privileges; replication stays with None, the preset unless ``sets_access``."""
    before = cluster.user(name)
    if before is None:
        raise NotFound
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
