"""Requests to and responses from etcd's JSON gateway, as types.

Keys and values are base64 and int64s are strings in that JSON; msgspec turns ``bytes`` and, when it is not
strict, ``int`` from and into them.
"""

from __future__ import annotations

import msgspec


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a transaction compares; see the functions below."""

    key: bytes
    target: str
    result: str = "EQUAL"
    range_end: bytes = b""
    create_revision: int | None = None
    mod_revision: int | None = None


def missing(key: str) -> Condition:
    return Condition(key.encode(), "CREATE", create_revision=0)


def exists(key: str) -> Condition:
    return Condition(key.encode(), "CREATE", "NOT_EQUAL", create_revision=0)


def unchanged(key: str, revision: int) -> Condition:
    return Condition(key.encode(), "MOD", mod_revision=revision)


def unchanged_since(prefix: str, revision: int) -> Condition:
    """No key below a prefix was put since a revision.  Deletions do not count."""
    return Condition(prefix.encode(), "MOD", "LESS", prefix_end(prefix), mod_revision=revision + 1)


def none_below(prefix: str) -> Condition:
    """There is no key below a prefix."""
    return Condition(prefix.encode(), "CREATE", range_end=prefix_end(prefix), create_revision=0)


class Put(msgspec.Struct, frozen=True, omit_defaults=True):
    key: bytes
    value: bytes
    lease: int = 0
    ignore_lease: bool = False


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False
    sort_order: str = "NONE"
    sort_target: str = "KEY"


class DeleteRange(msgspec.Struct, frozen=True, omit_defaults=True):
    key: bytes
    range_end: bytes = b""


class EtcdOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a transaction does; see ``put``, ``get``, ``delete``, ``delete_prefix``."""

    request_put: Put | None = None
    request_range: Range | None = None
    request_delete_range: DeleteRange | None = None


def put(key: str, value: bytes, lease: int = 0) -> EtcdOperation:
    return EtcdOperation(request_put=Put(key.encode(), value, lease))


def replace(key: str, value: bytes) -> EtcdOperation:
    """Put an existing key, and keep its lease."""
    return EtcdOperation(request_put=Put(key.encode(), value, ignore_lease=True))


def get(key: str) -> EtcdOperation:
    return EtcdOperation(request_range=Range(key.encode()))


def delete(key: str) -> EtcdOperation:
    return EtcdOperation(request_delete_range=DeleteRange(key.encode()))


def delete_prefix(prefix: str) -> EtcdOperation:
    return EtcdOperation(request_delete_range=DeleteRange(prefix.encode(), prefix_end(prefix)))


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with ``prefix``, which ends with a slash here."""
    key = prefix.encode()
    return key[:-1] + bytes([key[-1] + 1])


class TransactionRequest(msgspec.Struct, frozen=True):
    compare: list[Condition]
    success: list[EtcdOperation]
    failure: list[EtcdOperation]


class Header(msgspec.Struct, frozen=True):
    revision: int = 0
    member: int = msgspec.field(name="member_id", default=0)  # that has answered


class KeyValue(msgspec.Struct, frozen=True):
    key: bytes
    mod_revision: int
    value: bytes = b""
    lease: int = 0


class RangeResponse(msgspec.Struct, frozen=True):
    header: Header = Header()
    kvs: list[KeyValue] = []
    more: bool = False
    count: int = 0  # of the whole range, whatever the limit


class OperationResponse(msgspec.Struct, frozen=True):
    response_range: RangeResponse | None = None


class TransactionResponse(msgspec.Struct, frozen=True):
    header: Header
    succeeded: bool = False
    responses: list[OperationResponse] = []

    @property
    def read(self) -> dict[str, KeyValue]:
        """What the transaction's ``get`` operations found, by key."""
        ranges = [one.response_range for one in self.responses if one.response_range]
        return {found.key.decode(): found for one in ranges for found in one.kvs}


class LeaseResponse(msgspec.Struct, frozen=True):
    ID: int = 0
    TTL: int = 0


class KeepAliveResponse(msgspec.Struct, frozen=True):
    """The gateway serves a keepalive as a stream, of which one answer is taken."""

    result: LeaseResponse


class WatchEvent(msgspec.Struct, frozen=True):
    kv: KeyValue
    type: str = "PUT"


class WatchResult(msgspec.Struct, frozen=True):
    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    fragment: bool = False
    events: list[WatchEvent] = []


class Failure(msgspec.Struct, frozen=True):
    """An error; the code is gRPC's, and streams use another name for it."""

    message: str = ""
    code: int = 0
    grpc_code: int = 0


class WatchLine(msgspec.Struct, frozen=True):
    result: WatchResult | None = None
    error: Failure | None = None


class StatusResponse(msgspec.Struct, frozen=True):
    header: Header
    size: int = msgspec.field(name="dbSize", default=0)  # bytes
    size_in_use: int = msgspec.field(name="dbSizeInUse", default=0)  # bytes
    errors: list[str] = []
    leader: int = 0
    is_learner: bool = msgspec.field(name="isLearner", default=False)


class Member(msgspec.Struct, frozen=True):
    """A member of the cluster; without a name it has not been started yet."""

    id: int = msgspec.field(name="ID", default=0)
    name: str = ""
    peer_urls: list[str] = msgspec.field(name="peerURLs", default_factory=list)
    client_urls: list[str] = msgspec.field(name="clientURLs", default_factory=list)
    is_learner: bool = msgspec.field(name="isLearner", default=False)


class MembersResponse(msgspec.Struct, frozen=True):
    members: list[Member] = []
    member: Member = Member()  # the one that was added


class Alarm(msgspec.Struct, frozen=True):
    member: int = msgspec.field(name="memberID", default=0)
    alarm: str = "NONE"


class AlarmRequest(msgspec.Struct, frozen=True):
    action: str
    member: int = msgspec.field(name="memberID")
    alarm: str


class AlarmResponse(msgspec.Struct, frozen=True):
    alarms: list[Alarm] = []


class AuthenticateResponse(msgspec.Struct, frozen=True):
    token: str


class Users(msgspec.Struct, frozen=True):
    users: list[str] = []


class Permission(msgspec.Struct, frozen=True):
    """A right to a key or, with ``range_end``, a range; READ is 0 and left out by etcd."""

    key: bytes = b""
    range_end: bytes = b""
    permType: str = "READ"  # noqa: N815 (etcd's name)


class Role(msgspec.Struct, frozen=True):
    perm: list[Permission] = []


class Nothing(msgspec.Struct, frozen=True):
    """An answer of which nothing is used."""
