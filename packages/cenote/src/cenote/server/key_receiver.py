"""Takes new sealing keys from the API of another host, which rotates them."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from cenote.errors import Busy, CenoteError, Invalid
from cenote.model.fleet_records import KeyErrand
from cenote.security import sealing_keys
from cenote.security.boxes import Recipient
from cenote.security.sealing import Rings, Sealer
from cenote.store import Store
from cenote.store.key_sharing import Action, about
from cenote.store.tables import Stored

log = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0  # the store tells of an errand at once
RETRY_SECONDS = 1.0


class KeyReceiver:
    """Does the errands for the API of a host of a fleet."""

    def __init__(self, store: Store, rings: Rings, host_id: str) -> None:
        self._store, self._rings, self._host_id = store, rings, host_id
        self._recipient = Recipient()

    async def run(self) -> None:
        """Run until cancelled; etcd may be away at any time."""
        announced = False
        while True:
            try:
                if not announced:
                    await self._store.key_sharing.announce(self._host_id, self._recipient.public_key)
                    announced = True
                errand = await self._store.wait(self._next, LOOK_SECONDS)
                if errand is not None:
                    await self._store.key_sharing.finish(self._host_id, errand, await self._do(errand.value))
            except CenoteError as error:
                log.warning("a key of another host cannot be taken now: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def _next(self) -> Stored[KeyErrand] | None:
        errand = self._store.key_sharing.errand(self._host_id)
        return None if errand is None or errand.value.problem else errand

    async def _do(self, errand: KeyErrand) -> str:
        """Do an errand; return what is in its way, "" if it is done."""
        try:
            last = self._store.key_rotation.last
            if last is not None and last.state == "running":
                raise Busy("it rotates sealing keys itself")
            await asyncio.to_thread(self._apply, errand)
        except CenoteError as error:
            return error.message
        log.info("ring %s: %s the sealing key %s of another host", errand.ring, errand.action, errand.key_id)
        return ""

    def _apply(self, errand: KeyErrand) -> None:
        sealer = self._ring(errand.ring)
        if errand.action == Action.KEEP:
            if sealer.keys[-1].id != errand.key_id:
                raise Invalid("its newest sealing key is another one")
            sealer.remove_keys({key.id for key in sealer.keys} - {errand.key_id})
            return
        line = self._recipient.open(errand.box, about(self._host_id, errand))
        try:
            key = sealing_keys.key_in(line, datetime.now(UTC))
        except ValueError:
            raise Invalid("this is not a key") from None
        known = next((one for one in sealer.keys if one.id == key.id), None)
        if errand.action == Action.ADD:
            if known is None:
                sealer.add_key(sealing_keys.waiting(key))
        elif errand.action == Action.SEAL:
            sealer.add_key(key)
        else:
            raise Invalid("its version of Cenote does not know what to do with a key")

    def _ring(self, name: str) -> Sealer:
        found = {"api": self._rings.api, "host": self._rings.host}.get(name)
        if found is None:
            raise Invalid("its version of Cenote does not know this ring of keys")
        return found
