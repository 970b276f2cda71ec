"""Keys under a lease: they expire soon after the process that wrote them dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from cenote.errors import Misconfigured, Unavailable
from cenote.store import etcd_messages
from cenote.store.client import EtcdClient, EtcdError, LeaseLost
from cenote.store.retry import retrying
from cenote.store.writer import Writer

log = logging.getLogger(__name__)


class LeasedKey:
    """Holds ``key`` under a lease of ``ttl`` seconds, and rewrites it when the lease is lost.

    ``refusal`` gives the error for a value that another process may have written, None for one that may be
    replaced.
    """

    def __init__(
        self,
        client: EtcdClient,
        writer: Writer,
        key: str,
        ttl: int,
        refusal: Callable[[bytes], Misconfigured | None],
    ) -> None:
        self._client = client
        self._writer = writer
        self._key = key
        self._ttl = ttl
        self._refusal = refusal
        self._value = self._written = b""
        self._lease = 0
        self._keeper: asyncio.Task[None] | None = None

    async def announce(self, value: bytes) -> int:
        """Write the value if it differs and keep it there; return the revision, 0 if nothing was written.

        Misconfigured when the key is another process's, by ``refusal``.
        """
        if value == self._written:
            return 0
        self._value = value
        revision = await self._write()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"presence {self._key}")
        return revision

    async def withdraw(self) -> None:
        """Revoke the lease, and the key with it; if etcd is unreachable, it expires by itself."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._lease:
            with contextlib.suppress(Unavailable):
                await self._client.revoke_lease(self._lease)
        self._lease, self._written = 0, b""

    async def _write(self) -> int:
        if self._lease:
            with contextlib.suppress(LeaseLost):
                return await self._put()
        self._lease = await retrying(lambda: self._client.grant_lease(self._ttl))
        return await self._put()

    async def _put(self) -> int:
        while True:
            found = await retrying(lambda: self._client.read(self._key))
            refusal = None if found is None else self._refusal(found.value)
            if refusal is not None:
                raise refusal
            value = self._value
            outcome = await self._writer.write(
                [etcd_messages.unchanged(self._key, 0 if found is None else found.mod_revision)],
                [etcd_messages.put(self._key, value, self._lease)],
            )
            if outcome.revision:
                self._written = value
                return outcome.revision

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 3)
            try:
                await self._client.keep_lease(self._lease)
            except LeaseLost:
                log.warning("the lease of %s was lost; writing it again", self._key)
                try:
                    await self._write()
                except Misconfigured as error:
                    log.error("%s", error)
                except Unavailable:
                    continue
            except EtcdError as error:
                log.error("the lease of %s cannot be kept: %s", self._key, error)
            except Unavailable:
                continue  # the next attempt shows whether the lease survived
