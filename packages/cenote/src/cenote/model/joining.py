"""What a new host and a host of the fleet tell each other when it joins, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec

from cenote.model.fleet_records import HostRole

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
# What another host says ends up in claims, certificates and URLs, so only harmless characters are taken.
HostName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")]
Address = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}\Z")]
Zone = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{0,63}\Z")]

MOST_SKEW = timedelta(minutes=1)  # between the clocks of two hosts
FLEET, JOIN = "/fleet", "/join"  # paths


class FleetAnswer(msgspec.Struct, frozen=True):
    """The CA certificate of the fleet in PEM, and the time there; nobody has proved anything by it."""

    certificate: str
    now: Instant


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to join; ``request`` asks for a certificate, ``roles`` are all of the token's if empty.

    The host draws its id and its key itself, and repeats the same request if the answer was lost.
    """

    secret: str
    id: UUID
    name: HostName
    address: Address
    port: Annotated[int, msgspec.Meta(ge=1024, le=65535)]
    request: str
    roles: tuple[HostRole, ...] = ()
    zone: Zone = ""
    now: Instant
    version: str = ""

    def __repr__(self) -> str:
        return f"JoinRequest(id={self.id}, name={self.name!r})"


class StoreAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How a host reaches the store: the addresses of etcd, and the logins of its processes.

    ``external``: the operator's own etcd, with the CA and the client certificate for it, if there are any.
    The login of the API, and the password of etcd's administrator, are for hosts with the roles api and store
    only.  ``members`` are the peers of etcd, if this host is to be one, by their names.
    """

    prefix: str
    endpoints: tuple[str, ...] = ()
    external: bool = False
    authority: str = ""
    certificate: str = ""
    key: str = ""
    agent: tuple[str, str] = ("", "")
    api: tuple[str, str] = ("", "")
    root: str = ""
    members: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"StoreAccess(endpoints={self.endpoints})"


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a host one of the fleet; the key ring ``api`` and the API's CA are for the role api only."""

    store_id: UUID
    roles: tuple[HostRole, ...]
    certificate: str
    authority: str
    store: StoreAccess
    host_keys: str
    api_keys: str = ""
    api_authority: str = ""
    api_authority_key: str = ""

    def __repr__(self) -> str:
        return f"JoinAnswer(store_id={self.store_id})"


class Refused(msgspec.Struct, frozen=True):
    """Why a host may not join, in words."""

    message: str


def skew_in_words(there: datetime, here: datetime | None = None) -> str:
    """Return how far this host's clock is from another one's, in words; "" if that does no harm."""
    ahead = (here or datetime.now(UTC)) - there
    if abs(ahead) <= MOST_SKEW:
        return ""
    minutes, seconds = divmod(round(abs(ahead).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "hour"), (minutes, "minute"), (seconds, "second")]
    shown = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number][:2]
    return f"{' '.join(shown)} {'ahead of' if ahead > timedelta() else 'behind'}"
