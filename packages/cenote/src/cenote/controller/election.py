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
    """The holder of the key: the host, and the run of its process."""

    host: str
    run: str


class Election:
    """A candidate for the key; ``host`` is this host's id.

    There is one API process for each host, so the key of a former process of this host is taken over at once.
    """

    def __init__(self, client: EtcdClient, key: str, host: str) -> None:
        self._client, self._key = client, key
        self._own = Candidate(host, uuid4().hex)
        self._lease = 0
        self._revision = 0

    @property
    def is_elected(self) -> bool:
        return self._revision > 0

    def condition(self) -> etcd_messages.Condition:
        """Return the condition under which this process may write as the controller."""
        return etcd_messages.unchanged(self._key, self._revision)

    async def run(self, elected: asyncio.Event) -> None:
        """Stand for election until cancelled; ``elected`` is set while this process is the controller."""
        while True:
            try:
                if self.is_elected:
                    await self._client.keep_lease(self._lease)
                elif await self._stand():
                    log.info("this process is the controller")
                    elected.set()
            except LeaseLost:
                log.warning("this process is no longer the controller: its lease was lost")
                self._revision = self._lease = 0
                elected.clear()
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

    async def _stand(self) -> bool:
        found = await retrying(lambda: self._client.read(self._key))
        if found is not None:
            holder = msgspec.json.decode(found.value, type=Candidate)
            if holder.host != self._own.host:
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
            self._revision = answer.header.revision
        return answer.succeeded
