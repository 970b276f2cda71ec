"""Renews this host's certificate of the fleet: a request in the store, answered by the controller.

The new key stays beside the old one until its certificate is there.  The CA's certificate comes with it, and
is taken only if the CA that this host knows has signed it: its key stays the same.  Who uses the files is
started again by the supervisor; etcd reads them by itself.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from cenote.errors import CenoteError, Unavailable
from cenote.host import fleet_files
from cenote.model.paths import Layout
from cenote.model.timing import Timing
from cenote.security import certificates
from cenote.store.host_store import HostStore

log = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0  # between two looks for the answer


class HostCertificate:
    def __init__(self, store: HostStore, layout: Layout, timing: Timing) -> None:
        self._store, self._layout, self._timing = store, layout, timing
        self._told = ""

    async def run(self) -> None:
        """Run until cancelled; the interval is short, since the clock may be set."""
        while True:
            pause = self._timing.certificate_interval
            try:
                if fleet_files.is_due(self._layout, datetime.now(UTC)):
                    pause = min(pause, ANSWER_SECONDS)
                    await self._renew()
                    self._told = ""
            except (CenoteError, OSError, ValueError) as error:
                self._tell(
                    f"this host's certificate cannot be renewed: {error}", isinstance(error, Unavailable)
                )
            await asyncio.sleep(pause)

    async def _renew(self) -> None:
        wanted = fleet_files.renewal(self._layout)
        issued = await self._store.host_certificate()
        if issued is not None and certificates.is_for_key(issued.encode(), wanted.key.encode()):
            fleet_files.take(self._layout, wanted.key, issued)
            log.info("this host's certificate of the fleet is renewed")
        else:
            await self._store.request_host_certificate(wanted.request)

    def _tell(self, message: str, quietly: bool) -> None:
        if message != self._told:
            log.log(logging.DEBUG if quietly else logging.ERROR, "%s", message)
        self._told = message
