"""TLS contexts of certificates that are in memory, since OpenSSL loads files only."""

from __future__ import annotations

import contextlib
import os
import ssl


def server_context(certificate: bytes, key: bytes | None = None) -> ssl.SSLContext:
    """Return a context that shows this certificate; OSError if it is unusable, or has another key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, certificate, key)
    return context


def replace(context: ssl.SSLContext, certificate: bytes, key: bytes | None = None) -> None:
    """Have a context in use show another certificate; OSError, and nothing changed, if it is unusable."""
    # A failed load leaves a context half changed.
    load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    load(context, certificate, key)


def load(context: ssl.SSLContext, certificate: bytes, key: bytes | None = None) -> None:
    """Load a certificate with its chain; without ``key``, the certificate's text has the key, too."""
    with contextlib.ExitStack() as stack:
        paths = []
        for content in (certificate, key):
            if content is not None:
                file = stack.enter_context(open(os.memfd_create("certificate"), "wb"))
                file.write(content)
                file.flush()
                paths.append(f"/proc/self/fd/{file.fileno()}")
        context.load_cert_chain(*paths)
