"""Sealing keys: list, rotate; an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from http import HTTPMethod

import msgspec

from cenote.api import silence
from cenote.api.auth import ADMIN
from cenote.api.call import Call
from cenote.api.operation import answer, operation
from cenote.api.service import Service
from cenote.errors import Invalid, Unavailable
from cenote.http.routing import Response
from cenote.security.sealing import Sealer
from cenote.security.sealing_keys import SealingKey
from cenote.store.key_sharing import Action

PATH = "/v2/cenote/keys"
AGENT_SECONDS = 30.0  # timeout for agents to say in their hosts' records that they have a key
API_SECONDS = 10.0  # timeout for the API of another host to take a key


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
    holders = _Hosts(service, ring)
    begun = service.store.key_rotation.start(
        _sealer(service, ring), request.note(), holders.out_of_reach(), ring, holders
    )
    return answer(RotationAnswer(msgspec.convert(begun, RotationView, from_attributes=True)), 202)


def _sealer(service: Service, ring: Ring) -> Sealer:
    return service.rings.host if ring is Ring.HOST else service.rings.api


class _Hosts:
    """All who open what a ring seals: the APIs of other hosts, and of ring ``host`` all agents.

    A host has its keys from when it is admitted, before anything is heard of it.
    """

    def __init__(self, service: Service, ring: Ring) -> None:
        self._service, self._ring, self._own = service, ring, service.settings.host_id
        self._apis, self._agents = self._found()

    def _found(self) -> tuple[list[str], list[str]]:
        """Return the APIs and the agents as they are now."""
        store = self._service.store
        apis = set(store.key_sharing.recipients()) - {self._own}
        known = {*(host.id for host in store.known_hosts()), *store.unstarted_hosts()}
        return sorted(apis), sorted(known) if self._ring is Ring.HOST else []

    def out_of_reach(self) -> list[str]:
        """Return the names of those that do not answer, or that keys cannot be told."""
        store = self._service.store
        away = {*self._agents, *self._apis} - store.presences().keys()
        if store.fleet_authority() is None:
            # Services with one store and no fleet: nothing carries a key from one to the other.
            away |= {host.id for host in store.hosts()} - {self._own}
        return [self._name(id) for id in away]

    def _name(self, id: str) -> str:
        unstarted = self._service.store.unstarted_hosts().get(id)
        return silence.name_of(self._service.store, id) if unstarted is None else unstarted.name

    async def _check_nobody_came(self) -> None:
        """Raise Unavailable when a host has joined since, which may have the old keys alone."""
        await self._service.store.joining.refresh()
        apis, agents = self._found()
        came = {*apis, *agents} - {*self._apis, *self._agents}
        if came:
            names = ", ".join(sorted(map(self._name, came)))
            raise Unavailable(f"{names} joined meanwhile, and may not have the new key")

    async def add(self, key: SealingKey) -> None:
        store = self._service.store
        for id in self._agents:
            await self._service.host_keys.add_host_key(id, key.line)

        def lack_it() -> list[str]:
            known = {host.id: host.host_keys for host in store.known_hosts()}
            return [id for id in self._agents if key.id not in known.get(id, (key.id,))]

        if not await store.wait(lambda: not lack_it() or None, AGENT_SECONDS):
            raise Unavailable(f"the new key is not reported by {silence.names(store, lack_it())}")
        await self._tell(Action.ADD, key)

    async def seal(self, key: SealingKey) -> None:
        await self._check_nobody_came()
        await self._tell(Action.SEAL, key)

    async def keep(self, key: SealingKey) -> None:
        await self._check_nobody_came()
        for id in self._agents:
            await self._service.host_keys.keep_host_keys(id, [key.id])
        await self._tell(Action.KEEP, key)

    async def _tell(self, action: Action, key: SealingKey) -> None:
        """Have all other APIs do something with the key; Unavailable, with the host, for one that did not."""
        for id in self._apis:
            try:
                await self._errand(id, action, key)
            except Unavailable as error:
                name = silence.name_of(self._service.store, id)
                raise Unavailable(f"the host {name} has not taken the key: {error.message}") from None

    async def _errand(self, host_id: str, action: Action, key: SealingKey) -> None:
        store = self._service.store
        sent = await store.key_sharing.send(host_id, self._ring, action, key)

        def problem() -> str | None:
            found = store.key_sharing.errand(host_id)
            if found is None:
                return ""
            if found.value.id != sent:
                return "another host rotates sealing keys, too"
            return found.value.problem or None

        found = await store.wait(problem, API_SECONDS)
        if found is None:
            raise Unavailable("its API does not answer")
        if found:
            raise Unavailable(found)


ROUTES = (list_keys, rotate_keys)
