"""Sealing keys: list them, and rotate them; an addition of Cenote's, for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import datetime
from http import HTTPMethod

import msgspec

from cenote.api.auth import ADMIN
from cenote.api.service import Call, answer, operation
from cenote.http.routing import Response

PATH = "/v2/cenote/keys"


class KeyView(msgspec.Struct):
    """A sealing key; the newest ``seals``, all open.  ``records`` is null during a rotation."""

    id: str
    made_at: datetime
    seals: bool
    records: int | None


class RotationView(msgspec.Struct):
    """The latest rotation since the service was started: running, done or failed, and why."""

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
    """List the sealing keys, the newest first, and how many records each of them has sealed."""
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
    """Begin to seal with a new key, and to re-seal every record; the old keys are removed at the end."""
    store = request.service.store
    begun = store.key_rotation.start(request.service.sealer, request.note(), store.other_hosts())
    return answer(RotationAnswer(msgspec.convert(begun, RotationView, from_attributes=True)), 202)


ROUTES = (list_keys, rotate_keys)
