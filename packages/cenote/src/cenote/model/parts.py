"""The names of a node's parts; ``engine/parts.py`` has the parts themselves, in their order."""

from __future__ import annotations

from enum import StrEnum


class PartName(StrEnum):
    """A part of a node, as reports and logs name it."""

    GIVEN_UP = "given up"
    LOG_SPACE = "log space"
    FOLDERS = "folders"
    POOLER_ACCESS = "pooler access"
    POOLER_DISCONNECT = "disconnect from PgBouncer"
    LOG_POSITIONS = "log positions"
    CERTIFICATE = "certificate"
    BACKUPS = "backups"
    RESTORE = "restore"
    BASE_BACKUP = "base backup"
    FORMER_STANDBY = "former standby"
    RESTING = "resting"
    MAJOR_UPGRADE = "major upgrade"
    ROUTING = "way to the primary"
    SWITCHING = "switching"
    RELEASE = "release from Patroni"
    LEADING = "leading"
    ENDING = "ending"
    SERVER = "PostgreSQL"
    SLOTS = "slots"
    DISCONNECT = "disconnect"
    RESTART = "restart"
    OUTDATED_BINARIES = "outdated binaries"
    ADOPTION = "adoption"
    ROLES = "roles"
    DATABASES = "databases"
    GRANTS = "grants"
    UPGRADE = "upgrade"
    POOLER = "PgBouncer"
    STANDBY = "standby"
