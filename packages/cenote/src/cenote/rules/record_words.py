"""What the records and their fields are called in the differences that events tell (``differences.py``).

A field that is in none of these tables is told by its name alone, without its values; a test finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cenote.model.groups import VPC, Project, Tag
from cenote.model.record import Record


@dataclass(frozen=True, slots=True)
class Kind:
    """How a record is described: what it is called, and the words for its fields.

    ``named_by`` are the fields that tell it from others of its kind; a record with another name is another
    record.  The values of ``hidden`` fields are never told.  ``minor`` fields are told when they change, but
    not of a record that is added or removed; ``unsaid`` ones say nothing to people.
    """

    noun: str
    plural: str
    named_by: tuple[str, ...]
    fields: Mapping[str, str]
    hidden: Mapping[str, str] = field(default_factory=dict)
    minor: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    def name(self, record: Record) -> str:
        return " ".join([self.noun, *(str(getattr(record, name)) for name in self.named_by)])


USER = Kind(
    "user",
    "users",
    ("name",),
    {"role": "role", "allow_replication": "replication", "access": "access to others' tables"},
    hidden={"verifier": "password", "sealed_password": "password"},
    unsaid=("number",),
)
DATABASE = Kind("database", "databases", ("name",), {"owner": "owner"}, unsaid=("number",))
POOL = Kind(
    "pool",
    "pools",
    ("name",),
    {
        "size": "size",
        "mode": "mode",
        "database": "database",
        "user": "user",
        "reconnects": "replacements of its server connections",
    },
    minor=("reconnects",),
)
SOURCE = Kind(
    "trusted source",
    "trusted sources",
    ("value",),
    {"description": "description", "type": "type", "id": "id", "created_at": "time of creation"},
    minor=("type", "id", "created_at"),
)
SINK = Kind(
    "log sink",
    "log sinks",
    ("name",),
    {"type": "type", "id": "id"},
    hidden={"sealed_config": "configuration"},
    minor=("id",),
)
NODE = Kind(
    "node",
    "nodes",
    ("name",),
    {
        "host": "host",
        "port": "port",
        "pool_port": "port of the pools",
        "metrics_port": "port of the metrics",
        "lost_at": "time of the loss of its host",
    },
    minor=("lost_at",),
    unsaid=("added_at", "replaces"),
)
LEFT = Kind(
    "removal from its host of",
    "removals from hosts",
    ("name",),
    {"host": "host"},
    unsaid=("port", "pool_port", "metrics_port", "lost_at", "added_at", "replaces"),
)
REMOVAL = Kind("removal of", "removals", ("kind", "name"), {"at": "time"}, minor=("at",), unsaid=("id",))
TAG = Kind("tag", "tags", ("name",), {})
PROJECT = Kind(
    "project",
    "projects",
    ("name",),
    {"name": "name", "description": "description", "purpose": "purpose", "environment": "environment"},
    unsaid=("id", "created_at", "updated_at"),
)
NETWORK = Kind(
    "VPC",
    "VPCs",
    ("name",),
    {"name": "name", "region": "region", "ip_range": "IP range", "description": "description"},
    unsaid=("id", "created_at"),
)
TOKEN = Kind(
    "token",
    "tokens",
    ("name",),
    {"scopes": "scopes", "expires_at": "expiry"},
    unsaid=("id", "created_at"),
)
JOIN_TOKEN = Kind(
    "token for a host",
    "tokens for hosts",
    (),
    {"roles": "roles", "expires_at": "expiry"},
    unsaid=("id", "created_at"),
)
ADMITTED = Kind(
    "host",
    "hosts",
    ("name",),
    {"address": "address", "port": "port", "roles": "roles", "zone": "zone"},
    unsaid=("at", "token", "key"),
)
METRICS_LOGIN = Kind(
    "login for metrics",
    "logins for metrics",
    (),
    {"username": "user name"},
    hidden={"sealed_password": "password", "verifier": "password"},
)

LISTS: dict[str, Kind] = {
    "nodes": NODE,
    "users": USER,
    "databases": DATABASE,
    "pools": POOL,
    "firewall": SOURCE,
    "sinks": SINK,
}
# Fields of a cluster with one value each.
VALUES = {
    "name": "name",
    "version": "PostgreSQL version",
    "size": "size",
    "region": "region",
    "storage_mib": "storage",
    "project_id": "project",
    "private_network_id": "VPC",
    "server_names": "names of the host in the certificate",
    "service_names": "names of your own in the certificate",
    "maintenance_window": "maintenance window",
    "autoscale": "growth of the storage",
    "delete_protection": "protection from deletion",
    "distinct_hosts": "nodes on different hosts only",
    "undelete_days": "days in which it can be undeleted",
    "replica_of": "source of the read replica",
    "copies": "copy of its source's data",
    "update_asked_at": "update of outdated programs asked for",
    "id": "id",
    "created_at": "time of creation",
}
HIDDEN = {
    "authority": "certificate authority",
    "backups": "backups",
    "failover_login": "login of the failover agent",
}
# How settings are named, by the part of the configuration that they stand in.
SETTINGS = {
    "postgresql": "setting ",
    "pgbouncer": "setting ",
    "cenote": "setting cenote.",
    "unused": "setting without effect ",
    "failover": "setting ",
}
HIDDEN_SETTINGS = frozenset({"connect_query"})  # SQL, which may contain a password
SPECIAL = frozenset(
    {"tags", "configuration", "deleted_at", "move", "switchover", "online_migration", "promote_asked_at"}
)
# What a field without a value means.
EMPTY = {"user": "each client's own", "owner": "doadmin"}
# They change beside other fields, which tell it better.
BOOKKEEPING: dict[str, Kind | str] = {
    "removing": REMOVAL,
    "assigned_at": "time of the assignment to the project",
    "left": LEFT,
    "last_node": "number of the last node",
    "primary": "primary",
    "restart_turn": "node that is to be restarted",
    "keep": "data of the deleted cluster",
    "undeletion": "deleted data to be brought back",
    "major_upgrade": "upgrade under way",
    "rehearsal": "rehearsal of an upgrade",
    "rehearsal_of": "rehearsal",
    "restoration": "data that are being restored",
}
GROUPS: dict[type[Record], Kind] = {Tag: TAG, Project: PROJECT, VPC: NETWORK}
