"""Loads, before anything is forked, what would otherwise be loaded from files on the way of a request.

A process under another account may not be able to read the interpreter's files, and after an upgrade they are
those of another version.  And what is made here is in memory once, and makes the start of a process shorter.
"""

from __future__ import annotations

import importlib
import ssl

from cenote.api import app
from cenote.console import rendering
from cenote.security import certificates
from cenote.server.settings import ServeSettings

# Imported by a function of theirs; a test of the service compares.
_LATER = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "cryptography.hazmat.backends.openssl.backend",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.unicode_escape",
    "prometheus_client.core",
    "uvicorn.lifespan.on",
)


def load(settings: ServeSettings) -> None:
    for name in _LATER:
        importlib.import_module(name)
    if settings.dns is not None:
        importlib.import_module("cenote.controller.name_server").load()
    rendering.load()
    app.documents()
    # The first use of the cryptographic libraries fills tables of theirs.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.new_authority("nobody")
