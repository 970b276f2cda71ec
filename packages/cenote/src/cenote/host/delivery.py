"""What log destinations have in common: see ``syslog_delivery.py`` and ``search_delivery.py``."""

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
    """The destination was reached but rejected the messages; a retry may succeed."""


class Destination(Protocol):
    """``confirmation_delay``: seconds that the connection must stay up until messages count as delivered."""

    confirmation_delay: float

    async def deliver(self, messages: Sequence[Message]) -> tuple[int, str]:
        """Send messages; return how many of them were rejected for good, and why.

        Raises Unreachable or DeliveryError if none or only some of the others were delivered.
        """
        ...

    @property
    def broken(self) -> str:
        """Why the connection broke, in words; empty while it is up."""
        ...

    async def drop_expired(self, today: date) -> None:
        """Delete messages past the retention time; DeliveryError if the destination rejects that."""
        ...

    async def close(self) -> None: ...


def tls_context(config: Config) -> ssl.SSLContext:
    """Return the TLS context for a destination, with the client's certificate if there is one."""
    context = ssl.create_default_context(cadata=config.ca or None)
    if isinstance(config, SyslogConfig) and config.key:
        # OpenSSL loads keys from files only; this one is in memory.
        handle = os.memfd_create("cenote", os.MFD_CLOEXEC)
        try:
            os.write(handle, f"{config.key.strip()}\n{config.cert}".encode())
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
    return context
