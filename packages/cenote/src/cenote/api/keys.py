"""Sealing keys: list, rotate; an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from http import HTTPMethod

import msgspec

from cenote.api.auth import ADMIN
from cenote.api.service import Call, Service, answer, operation
from cenote.errors import Invalid, Unavailable
from cenote.http.routing import Response
from cenote.security.sealing import Sealer
from cenote.security.sealing_keys import SealingKey
from cenote.store.key_rotation import NOBODY

PATH = "/v2/cenote/keys"
AGENT_SECONDS = 30.0  # timeout for the agent to say in its host's record that it has a key


class Ring(StrEnum):
    """``api`` seals passwords and the keys of the clusters' CAs, ``host`` the configurations of log sinks."""

    API = "api"
    HOST = "host"


class KeyView(msgspec.Struct):
    """A sealing key; only the newest of a ring ``seals``, all can open.

    ``records`` is null during a rotation.
    """

    ring: Ring
    id: str
    made_at: datetime
    seals: bool
    records: int | None


class RotationView(msgspec.Struct):
    """The latest rotation since the service started: running, done or failed, with the reason."""

    ring: Ring
    state: str
    message: str
    resealed: int
    records: int
    removed: tuple[str, ...]


class KeysAnswer(msgspec.Struct):
    keys: list[KeyView]
    rotation: RotationView | None


class RotationAnswer(msgspec.Struct):
    rotation: RotationView


@operation(HTTPMethod.GET, PATH, scope=ADMIN, answer=KeysAnswer, also=(503,))
async def list_keys(request: Call) -> Response:
    """List the sealing keys of both rings, newest first, with the number of records sealed with each."""
    rotation = request.service.store.key_rotation
    views = [
        KeyView(ring, use.id, use.made_at, use.seals, use.records)
        for ring in Ring
        for use in await rotation.uses(_sealer(request.service, ring))
    ]
    last = rotation.last
    return answer(
        KeysAnswer(views, None if last is None else msgspec.convert(last, RotationView, from_attributes=True))
    )


@operation(
    HTTPMethod.POST,
    PATH + "/rotate",
    scope=ADMIN,
    status=202,
    answer=RotationAnswer,
    query=("ring",),
    also=(412,),
)
async def rotate_keys(request: Call) -> Response:
    """Start a key rotation: a new key seals, all records are re-sealed, then old keys are removed.

    `ring` is `api`, the default, for passwords and the keys of the clusters' CAs, or `host` for log sinks.
    """
    service, text = request.service, request.query_params.get("ring", Ring.API)
    if text not in list(Ring):
        raise Invalid("ring: must be api or host.")
    ring = Ring(text)
    others = [host.name for host in service.store.hosts() if host.id != service.settings.host_id]
    holders = _Agent(service) if ring is Ring.HOST else NOBODY
    begun = service.store.key_rotation.start(_sealer(service, ring), request.note(), others, ring, holders)
    return answer(RotationAnswer(msgspec.convert(begun, RotationView, from_attributes=True)), 202)


def _sealer(service: Service, ring: Ring) -> Sealer:
    return service.rings.host if ring is Ring.HOST else service.rings.api


class _Agent:
    """The agent of this host, which opens what ring ``host`` seals."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def add(self, key: SealingKey) -> None:
        service = self._service
        await service.host_keys.add_host_key(key.line)

        def has_it() -> bool | None:
            host = service.store.host(service.settings.host_id)
            return True if host is not None and key.id in host.host_keys else None

        if not await service.store.wait(has_it, AGENT_SECONDS):
            raise Unavailable("the agent of this host does not report the new key")

    async def keep(self, id: str) -> None:
        await self._service.host_keys.keep_host_keys([id])


ROUTES = (list_keys, rotate_keys)
