"""Whether a change of a cluster's record is in force, by what the agent reports of the parts of its node.

A change concerns some parts only.  So one that the agent has carried out is in force also while another part
fails, and one that it could not carry out is told with the reason of the part that it concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from msgspec.structs import replace

from cenote.model import firewall
from cenote.model.firewall import Network
from cenote.model.parts import PartName
from cenote.model.paths import POSTGRESQL
from cenote.model.records import Access, Cluster, User
from cenote.model.status_records import NodeStatus

UNDER_WAY = "the host's agent is still at work on it"

ALL = frozenset(PartName)
_ON_HOST = frozenset({PartName.POOLER_ACCESS, PartName.POOLER_DISCONNECT})
_ON_SERVER = frozenset({PartName.SERVER, PartName.DISCONNECT})
TRUSTED_SOURCES = frozenset(
    {PartName.POOLER_ACCESS, PartName.POOLER_DISCONNECT, PartName.SERVER, PartName.DISCONNECT}
)
USERS = frozenset({PartName.SERVER, PartName.ROLES, PartName.POOLER_ACCESS, PartName.POOLER})
LOCKED_OUT = frozenset({PartName.POOLER_ACCESS})
PRIVILEGES = USERS | {PartName.GRANTS}
DATABASES = frozenset({PartName.DATABASES, PartName.GRANTS})
_CONFIGURATION = frozenset({PartName.SERVER, PartName.RESTART, PartName.POOLER})
_BY_FIELD: dict[str, frozenset[PartName]] = {
    "firewall": TRUSTED_SOURCES,
    "users": USERS,
    "databases": DATABASES,
    "pools": frozenset({PartName.POOLER}),
    "configuration": _CONFIGURATION,
    "size": _CONFIGURATION,
    "storage_mib": _CONFIGURATION,
    "sinks": frozenset({PartName.LOG_POSITIONS}),
    "backups": frozenset({PartName.BACKUPS, PartName.SERVER}),
    "service_names": frozenset({PartName.CERTIFICATE, PartName.SERVER, PartName.POOLER}),
    "server_names": frozenset({PartName.CERTIFICATE, PartName.SERVER, PartName.POOLER}),
    "maintenance_window": frozenset({PartName.RESTART, PartName.OUTDATED_BINARIES}),
    "online_migration": frozenset({PartName.SERVER}),
    "update_asked_at": frozenset({PartName.RESTART, PartName.OUTDATED_BINARIES}),
    "restart_turn": frozenset({PartName.RESTART}),
    # What no part of a node depends on.
    **dict.fromkeys(
        # What was removed is dropped after the pass, which is waited for apart.
        (
            *("removing", "name", "region", "project_id", "assigned_at"),
            *("private_network_id", "tags", "autoscale", "left", "last_node", "distinct_hosts", "primary"),
            "promote_asked_at",
        ),
        frozenset[PartName](),
    ),
}
# What customers call the parts; a change of the others is none of theirs.
_IN_WORDS = {
    PartName.POOLER_ACCESS: "who may use the pools",
    PartName.POOLER_DISCONNECT: "the end of clients of pools whose addresses are not trusted",
    PartName.CERTIFICATE: "the certificate",
    PartName.MAJOR_UPGRADE: "the upgrade to another major version",
    PartName.SERVER: "PostgreSQL's configuration",
    PartName.DISCONNECT: "the end of connections from addresses that are not trusted",
    PartName.RESTART: "a restart",
    PartName.ADOPTION: "what the server has and the record has not",
    PartName.ROLES: "users",
    PartName.DATABASES: "databases",
    PartName.GRANTS: "privileges",
    PartName.UPGRADE: "the upgrade of databases that a former version has made",
    PartName.POOLER: "pools",
    PartName.LOG_POSITIONS: "log sinks",
    PartName.BACKUPS: "the configuration of backups",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """``failed``: the agent has tried, and could not carry the change out.  It goes on trying."""

    in_force: bool
    failed: bool = False
    reason: str = ""


def concerned(before: Cluster, after: Cluster) -> frozenset[PartName]:
    """Return the parts that a change concerns; all of them for a field that nothing is known of."""
    found: set[PartName] = set()
    for field in Cluster.__struct_fields__:
        if getattr(before, field) != getattr(after, field):
            found |= _BY_FIELD.get(field, ALL)
    if _accesses(before) != _accesses(after):
        found.add(PartName.GRANTS)
    if _only_unused(before, after):
        return frozenset()
    return frozenset(found - {PartName.POOLER} if _only_postgresql(before, after) else found)


def closes(before: Cluster, after: Cluster) -> bool:
    """Return whether a change takes somebody's access away, who would rely on that when it is answered.

    A trusted source, a user, a password, a privilege, or a database with all that is in it.
    """
    names = {user.name: user for user in after.users}
    return (
        _narrows(before, after)
        or any(_loses(user, names.get(user.name)) for user in before.users)
        or any(after.database(database.name) is None for database in before.databases)
    )


def progress(status: NodeStatus | None, revision: int, parts: Collection[str]) -> Progress:
    """Return whether the parts are as this revision of the record, or a later one, wants them."""
    if status is None:
        return Progress(in_force=False, reason="waiting for the host's agent")
    if status.reached >= revision:
        return Progress(in_force=True)
    if status.tried < revision:
        return Progress(in_force=False, reason=status.reason or UNDER_WAY)
    for part in PartName:
        if part in parts and part in status.failed:
            return Progress(in_force=False, failed=True, reason=status.failed[part])
    if any(part in parts for part in status.ahead):
        return Progress(in_force=False, reason=status.reason or UNDER_WAY)
    return Progress(in_force=True)


def on_standby(parts: Collection[str], status: NodeStatus | None) -> frozenset[PartName]:
    """Return those of the parts that let somebody in on a node that stands by, as far as it works.

    All else is brought about on the one that takes writes, and waits for no copy that is being made.
    """
    if not was_tried(status) or status is None or not status.reached:
        return frozenset()
    mine = _ON_HOST if POSTGRESQL in status.stopped else _ON_HOST | _ON_SERVER
    return frozenset(part for part in mine if part in parts)


def of_all(found: Iterable[Progress]) -> Progress:
    """Return the progress of a change that concerns several nodes: what failed comes first."""
    lacking = [one for one in found if not one.in_force]
    failed = [one for one in lacking if one.failed]
    return next(iter([*failed, *lacking]), Progress(in_force=True))


def was_tried(status: NodeStatus | None) -> bool:
    """Return whether a node may have let somebody in: until it has been tried, nothing of it runs."""
    return status is not None and bool(status.reached or status.tried)


def lacking(status: NodeStatus | None, revision: int) -> list[str]:
    """Return what of this revision is not in force, in words: for ``cenote.not_in_force``."""
    if status is None or status.reached >= revision or not was_tried(status):
        return []
    if status.tried < revision:
        return [f"the latest changes: {status.reason or UNDER_WAY}"]
    failed = [f"{_IN_WORDS[part]}: {status.failed[part]}" for part in _IN_WORDS if part in status.failed]
    ahead = [_IN_WORDS[part] for part in _IN_WORDS if part in status.ahead]
    return failed + ([f"{', '.join(ahead)}: {status.reason or UNDER_WAY}"] if ahead else [])


def _only_unused(before: Cluster, after: Cluster) -> bool:
    """Return whether nothing but settings without effect differs."""
    chosen = replace(before.configuration, unused=after.configuration.unused)
    return before != after and replace(before, configuration=chosen) == after


def _only_postgresql(before: Cluster, after: Cluster) -> bool:
    """Return whether nothing but settings of PostgreSQL differs, which the pooler has none of."""
    chosen = replace(before.configuration, postgresql=after.configuration.postgresql)
    return replace(before, configuration=chosen) == after


def _narrows(before: Cluster, after: Cluster) -> bool:
    """Return whether an address was admitted and is not any longer, as far as the rules tell."""
    former, now = firewall.networks(before.firewall), firewall.networks(after.firewall)
    if now is None:
        return False
    return former is None or not all(_covers(now, network) for network in former)


def _covers(networks: Collection[Network], inner: Network) -> bool:
    # Networks of the two versions cannot be compared.
    return any(
        (isinstance(outer, IPv4Network) and isinstance(inner, IPv4Network) and inner.subnet_of(outer))
        or (isinstance(outer, IPv6Network) and isinstance(inner, IPv6Network) and inner.subnet_of(outer))
        for outer in networks
    )


def _loses(before: User, after: User | None) -> bool:
    if after is None or after.verifier != before.verifier:
        return True
    if before.allow_replication is not False and after.allow_replication is False:
        return True
    ranks = {None: 0, Access.READONLY: 1, Access.READWRITE: 2}
    return ranks[after.access] < ranks[before.access]


def _accesses(cluster: Cluster) -> dict[str, Access]:
    return {user.name: user.access for user in cluster.users if user.access is not None}
