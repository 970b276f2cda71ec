"""The certificate that the servers of a node show, and the one that was requested."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cryptography.x509 import ExtensionNotFound

from cenote.engine.plan import certificate
from cenote.engine.plan.certificate import Seen
from cenote.engine.plan.context import NodeContext
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.security import certificates, fleet_certificates
from cenote.security.certificates import Validity


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    content, at = files.read(context.cluster_paths.certificate) or b"", datetime.now(UTC)
    seen = Seen(frozenset(), Validity(at, at), at)
    try:
        if certificates.is_issued_by(content, context.cluster.authority.certificate):
            names = frozenset(certificates.names_of(content))
            validity = certificates.validity(content)
            seen = Seen(names, validity, at, for_nodes=_is_for_nodes(context, content, content))
    except (ValueError, ExtensionNotFound):
        pass
    return _with_request(context, seen)


def problem(context: NodeContext) -> str:
    """Return why clients that verify the servers' certificate cannot connect, in words; "" if they can."""
    try:
        servers = certificates.chain_validity(files.read(context.cluster_paths.certificate) or b"")
        authority = certificates.chain_validity(context.cluster.authority.certificate.encode())
    except ValueError:
        return ""  # the part replaces it
    return certificate.problem(servers, authority, datetime.now(UTC))


def _with_request(context: NodeContext, seen: Seen) -> Seen:
    key = files.read(context.cluster_paths.requested_key)
    if not key:  # a power failure may leave a file without content
        return seen
    requested_at = files.modified_at(context.cluster_paths.requested_key) or seen.at
    seen = replace(seen, requested_at=requested_at)
    pem = (context.issued_certificate or "").encode()
    try:
        fits = bool(pem) and certificates.is_for_key(pem, key)
        if fits and certificates.is_issued_by(pem, context.cluster.authority.certificate):
            names, validity = frozenset(certificates.names_of(pem)), certificates.validity(pem)
            return replace(
                seen,
                issued=key + pem,
                issued_names=names,
                issued_validity=validity,
                issued_for_nodes=_is_for_nodes(context, pem, key),
            )
    except ValueError:
        return replace(seen, requested_at=None)
    return seen


def _is_for_nodes(context: NodeContext, pem: bytes, key: bytes) -> bool:
    """Return whether a certificate can be shown to another node's server, and says which host it is of.

    Where Patroni reaches the store by TLS, there has to be one for that with the same key.
    """
    if context.needs_store_certificate and not _fits(context.store_certificate, key):
        return False
    named = fleet_certificates.host_name(context.node.host)
    return certificates.is_for_clients(pem) and certificates.common_name(pem) == named


def _fits(pem: str, key: bytes) -> bool:
    return bool(pem) and certificates.is_for_key(pem.encode(), key)
