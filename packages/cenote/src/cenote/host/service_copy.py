"""How the automatic backup of the service fares on this host, for commands: a file in the data directory."""

from __future__ import annotations

import contextlib

import msgspec

from cenote.host import files
from cenote.model.fleet_records import ServiceCopy
from cenote.model.paths import Layout


def read(layout: Layout) -> ServiceCopy | None:
    """Return how the last attempt ended; None where none is made."""
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        content = files.read(layout.service_copy)
        if content:
            return msgspec.json.decode(content, type=ServiceCopy)
    return None


def write(layout: Layout, found: ServiceCopy | None) -> None:
    if found is None:
        files.remove(layout.service_copy)
    else:
        files.write(layout.service_copy, msgspec.json.encode(found) + b"\n", 0o600, None, durable=False)
