"""Users of a cluster: the roles that can log in."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .cenote import PendingChange, UserAdditions
from .other_engines import KafkaAcl, MongoUserSettings, MysqlSettings, OpensearchAcl


class UserSettings(TypedDict, total=False):
    """Privileges of a user; for PostgreSQL only ``pg_allow_replication``."""

    pg_allow_replication: bool
    opensearch_acl: list[OpensearchAcl]
    acl: list[KafkaAcl]
    mongo_user_settings: MongoUserSettings


class User(TypedDict):
    """A role that can log in; ``password`` is left out for a token without ``database:view_credentials``."""

    name: str
    role: NotRequired[Literal["primary", "normal"]]
    password: NotRequired[str]
    access_cert: NotRequired[str]
    access_key: NotRequired[str]
    mysql_settings: NotRequired[MysqlSettings]
    settings: NotRequired[UserSettings]
    cenote: NotRequired[UserAdditions]


class UserResponse(TypedDict):
    user: User
    cenote: NotRequired[PendingChange]


class UserListResponse(TypedDict):
    users: list[User]


class UserCreate(TypedDict):
    name: str
    settings: NotRequired[UserSettings]
    mysql_settings: NotRequired[MysqlSettings]
    readonly: NotRequired[bool]
    cenote: NotRequired[UserAdditions]


class UserUpdate(TypedDict, total=False):
    settings: UserSettings
    cenote: UserAdditions


class UserResetAuth(TypedDict, total=False):
    mysql_settings: MysqlSettings
