"""Sealing keys: list, rotate; an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import datetime
from http import HTTPMethod

import msgspec

from cenote.api.auth import ADMIN
from cenote.api.service import Call, answer, operation
from cenote.http.routing import Response

PATH = "/v2/cenote/keys"


class KeyView(msgspec.Struct):
    """A sealing key; only the newest ``seals``, all can open.  ``records`` is null during a rotation."""

    id: str
    made_at: datetime
    seals: bool
    records: int | None


class RotationView(msgspec.Struct):
    """The latest rotation since the service started: running, done or failed, with the reason."""

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
    """List the sealing keys, newest first, with the number of records sealed with each."""
    service = request.service
    rotation = service.store.key_rotation
    views = [
        msgspec.convert(use, KeyView, from_attributes=True) for use in await rotation.uses(service.sealer)
    ]
    last = rotation.last
    return answer(
        KeysAnswer(views, None if last is None else msgspec.convert(last, RotationView, from_attributes=True))
    )


@operation(HTTPMethod.POST, PATH + "/rotate", scope=ADMIN, status=202, answer=RotationAnswer, also=(412,))
async def rotate_keys(request: Call) -> Response:
    """Start a key rotation: a new key seals, all records are re-sealed, then old keys are removed."""
    service = request.service
    others = [host.name for host in service.store.hosts() if host.id != service.settings.host_id]
    begun = service.store.key_rotation.start(service.sealer, request.note(), others)
    return answer(RotationAnswer(msgspec.convert(begun, RotationView, from_attributes=True)), 202)


ROUTES = (list_keys, rotate_keys)
