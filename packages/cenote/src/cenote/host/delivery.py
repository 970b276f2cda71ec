"""What the peers that take logs have in common: ``syslog_peer.py`` and ``search_peer.py``."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from datetime import date
from typing import Protocol

from cenote.errors import CenoteError
from cenote.logs.messages import Message
from cenote.logs.sinks import Config, SyslogConfig


class DeliveryError(CenoteError):
    """The peer is there and does not take what it was sent; trying again may help."""


class Destination(Protocol):
    """``held`` is for how many seconds a connection has to stand after messages were sent until they count as
    delivered.
    """

    held: float

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        """Send messages; return how many of them the peer will never take, and why.

        Raises Unreachable or Refused when none of them, or only some, got there.
        """
        ...

    @property
    def broken(self) -> str:
        """Why the connection is gone, in words; empty as long as it stands."""
        ...

    async def tidy(self, today: date) -> None:
        """Remove what is older than the peer is to keep; Refused when it does not let us."""
        ...

    async def close(self) -> None: ...


def context(config: Config) -> ssl.SSLContext:
    """Return what a connection is checked by, with the client's certificate where there is one."""
    context = ssl.create_default_context(cadata=config.ca or None)
    if isinstance(config, SyslogConfig) and config.key:
        # OpenSSL reads a key from files only; this one is in memory, and has no name.
        handle = os.memfd_create("cenote", os.MFD_CLOEXEC)
        try:
            os.write(handle, f"{config.key.strip()}\n{config.cert}".encode())
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
    return context
