"""The election of the controller: a key under a lease, which each of its writes is conditional on."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

import msgspec

from cenote.errors import Unavailable
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient, LeaseLost
from cenote.store.retry import retrying

log = logging.getLogger(__name__)

LEASE_SECONDS = 10
RETRY_SECONDS = 1.0


class Candidate(msgspec.Struct, frozen=True):
    """The holder of the key: the host, the run of its process, and its data directory (see ``Presence``)."""

    host: str
    run: str
    directory: str


class Election:
    """A candidate for the key; ``host`` is this host's id.

    There is one API process for each data directory, so the key of a former process of this one is taken
    over at once.
    """

    def __init__(self, client: EtcdClient, key: str, host: str, directory: str) -> None:
        self._client, self._key = client, key
        self._own = Candidate(host, uuid4().hex, directory)
        self._lease = 0
        self.revision = 0  # of the election that was won, 0 when this process is not the controller
        self.elected, self.lost = asyncio.Event(), asyncio.Event()

    @property
    def is_elected(self) -> bool:
        return self.revision > 0

    def condition(self) -> etcd_messages.Condition:
        """Return the condition under which this process may write as the controller.

        Unavailable when it is not the controller any more.
        """
        if not self.is_elected:
            raise Unavailable("this process is no longer the controller")
        return etcd_messages.unchanged(self._key, self.revision)

    async def run(self) -> None:
        """Stand for election until cancelled; either ``elected`` or ``lost`` is set."""
        while True:
            try:
                if self.is_elected:
                    await self._keep()
                elif await self._stand():
                    log.info("this process is the controller")
                    self.lost.clear()
                    self.elected.set()
            except LeaseLost:
                log.warning("this process is no longer the controller: its lease was lost")
                self.revision = self._lease = 0
                self.elected.clear()
                self.lost.set()
                continue
            except Unavailable as error:
                log.debug("the election waits for etcd: %s", error)
            await asyncio.sleep(LEASE_SECONDS / 3 if self.is_elected else RETRY_SECONDS)

    async def resign(self) -> None:
        """Give up the key; if etcd is unreachable, it expires by itself."""
        if self._lease:
            try:
                await self._client.revoke_lease(self._lease)
            except Unavailable as error:
                log.debug("the controller's lease expires by itself: %s", error)

    async def _keep(self) -> None:
        """Renew the lease; LeaseLost when it has expired or the key is another process's."""
        await self._client.keep_lease(self._lease)
        found = await self._client.read(self._key)
        if found is None or found.mod_revision != self.revision:
            raise LeaseLost("another process has the key")

    async def _stand(self) -> bool:
        found = await retrying(lambda: self._client.read(self._key))
        if found is not None and not self._is_predecessor(found.value):
            return False
        if not self._lease:
            self._lease = await retrying(lambda: self._client.grant_lease(LEASE_SECONDS))
        free = (
            etcd_messages.missing(self._key)
            if found is None
            else etcd_messages.unchanged(self._key, found.mod_revision)
        )
        put = etcd_messages.put(self._key, msgspec.json.encode(self._own), self._lease)
        answer = await self._client.transact(etcd_messages.TransactionRequest([free], [put], []))
        if answer.succeeded:
            self.revision = answer.header.revision
        return answer.succeeded

    def _is_predecessor(self, value: bytes) -> bool:
        try:
            holder = msgspec.json.decode(value, type=Candidate)
        except msgspec.DecodeError:
            return False  # of another version, whose lease expires when it ends
        return (holder.host, holder.directory) == (self._own.host, self._own.directory)
