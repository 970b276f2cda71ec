"""What is known of the source and the target before anything is changed: plain values, no connections."""

from __future__ import annotations

from dataclasses import dataclass, field

CatalogId = tuple[int, int]
"""An object of the source: the OID of its catalog, and its own."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the source that the database needs; ``attributes`` are those beyond a plain role's."""

    name: str
    can_login: bool
    superuser: bool
    inherits: bool = True
    attributes: tuple[str, ...] = ()
    member_of: tuple[tuple[str, bool], ...] = ()
    """Each with its admin option."""


@dataclass(frozen=True, slots=True)
class Extension:
    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """``kind`` is that of ``pg_class``: r for a table, p for a partitioned one, S for a sequence."""

    schema: str
    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_rows(self) -> bool:
        return self.kind in "rm"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a database, or of a role (``role`` is not empty), in it (``in_database``) or everywhere."""

    role: str
    in_database: bool
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The database that is imported."""

    name: str
    version: int
    """As in ``server_version_num``: 150018."""
    user: str
    owner: str
    encoding: str
    collation: str
    bytes: int
    pooler: bool
    system_identifier: int | None
    oid: int
    place: str
    """Host and port, for people."""
    bytes_of: dict[int, int] = field(default_factory=dict)
    """The size of each table's data, by OID."""
    unreadable: tuple[str, ...] = ()
    row_security: tuple[str, ...] = ()
    """Tables whose policies would hide rows from the user of the source."""
    roles: tuple[Role, ...] = ()
    grantees: tuple[str, ...] = ()
    """Roles that own something, were granted something, or are named by a policy."""
    policies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The roles of each policy that names roles, by ``policy on table``."""
    extensions: dict[CatalogId, Extension] = field(default_factory=dict)
    superuser_only: dict[CatalogId, str] = field(default_factory=dict)
    """Objects that only a superuser can create, with the reason."""
    schemas: dict[CatalogId, str] = field(default_factory=dict)
    settings: tuple[Settings, ...] = ()
    relations: dict[int, Relation] = field(default_factory=dict)
    """Tables, views, sequences and the like of users, by OID."""
    notes: tuple[str, ...] = ()
    """What a dump does not contain, in words."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster; what is about its database is that of a new one while it is not there."""

    cluster: str
    version: int
    database: str
    exists: bool
    owner: str
    admin: str
    encoding: str
    collation: str
    contents: tuple[str, ...]
    """Some of the objects in the database; empty in an empty one."""
    extensions: dict[str, str]
    """The installed ones, each with its schema."""
    available: frozenset[str]
    """Those that the administrator can create."""
    roles: frozenset[str]
    system_identifier: int | None
    oid: int
