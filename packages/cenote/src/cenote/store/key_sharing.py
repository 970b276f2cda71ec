"""Sealing keys on their way from the API that rotates them to the APIs of other hosts.

Each API says with which public key it can be told secrets, and looks for the one errand that there is for it
at a time.  It takes the errand away when it is done, or says in it why it is not.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID, uuid4

import msgspec

from cenote.errors import Unavailable
from cenote.model.fleet_records import HostRole, KeyErrand, KeyRecipient
from cenote.security.boxes import box
from cenote.security.sealing_keys import SealingKey
from cenote.store import etcd_messages
from cenote.store.cache import WatchCache
from cenote.store.encoding import encode
from cenote.store.keys import Keys
from cenote.store.tables import Stored, Tables
from cenote.store.writer import Writer


class Action(StrEnum):
    """Open with a key, then seal with it, then forget all others."""

    ADD = "add"
    SEAL = "seal"
    KEEP = "keep"


def about(host_id: str, errand: KeyErrand) -> str:
    """Return what a box is bound to."""
    return f"{host_id} {errand.ring} {errand.action} {errand.id}"


class KeySharing:
    """The errands of a store; ``store.key_sharing``."""

    def __init__(self, tables: Tables, cache: WatchCache, writer: Writer, keys: Keys) -> None:
        self._tables, self._cache, self._writer, self._keys = tables, cache, writer, keys

    def recipients(self) -> list[str]:
        """Return the ids of the hosts whose APIs have the rings: those that were admitted as such."""
        return sorted(id for id, host in self._tables.admitted.items() if HostRole.API in host.roles)

    def errand(self, host_id: str) -> Stored[KeyErrand] | None:
        return self._tables.key_errands.get(host_id)

    async def announce(self, host_id: str, public_key: str) -> None:
        """Say how the API of a host can be told secrets."""
        key, recipient = self._keys.key_recipient(host_id), KeyRecipient(public_key=public_key)
        await self._writer.write([], [etcd_messages.put(key, encode(recipient))])

    async def send(self, host_id: str, ring: str, action: Action, key: SealingKey) -> UUID:
        """Write an errand in place of the last one, and return its id; Unavailable without a recipient."""
        recipient = self._tables.key_recipients.get(host_id)
        if recipient is None:
            raise Unavailable("its API has not said yet that it takes keys")
        errand = KeyErrand(id=uuid4(), ring=ring, action=action, key_id=key.id)
        if action is not Action.KEEP:
            sealed = box(key.line, recipient.public_key, about(host_id, errand))
            errand = msgspec.structs.replace(errand, box=sealed)
        outcome = await self._writer.write(
            [], [etcd_messages.put(self._keys.key_errand(host_id), encode(errand))]
        )
        await self._cache.seen(outcome.revision)
        return errand.id

    async def finish(self, host_id: str, errand: Stored[KeyErrand], problem: str = "") -> None:
        """Take an errand away, or say what is in its way; nothing if there is another one now."""
        key = self._keys.key_errand(host_id)
        told = msgspec.structs.replace(errand.value, problem=problem, box="")
        outcome = await self._writer.write(
            [etcd_messages.unchanged(key, errand.revision)],
            [etcd_messages.put(key, encode(told)) if problem else etcd_messages.delete(key)],
        )
        if outcome.revision:
            await self._cache.seen(outcome.revision)
