"""TLS contexts for connections between hosts: mutual, by the certificates of the fleet, and 1.3 only."""

from __future__ import annotations

import ssl

from cenote.http import tls_context


def server_context(certificate: bytes, key: bytes, ca_certificate: str) -> ssl.SSLContext:
    """Return a context for a server that takes only clients with a certificate of the fleet."""
    context = tls_context.server_context(certificate, key)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca_certificate)
    return context


def client_context(certificate: bytes, key: bytes, ca_certificate: str) -> ssl.SSLContext:
    """Return a context for a client that takes only servers with a certificate of the fleet.

    The server's name is checked: connect with ``server_hostname`` as the host's address or its name of
    ``fleet_certificates.names_of_host``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_certificate)
    tls_context.load(context, certificate, key)
    return context
