"""The certificate that the servers of a node show, and the one that was requested."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from cenote.engine.plan.certificate import Seen
from cenote.engine.plan.context import NodeContext
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.security import certificates


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    content, at = files.read(context.cluster_paths.certificate) or b"", datetime.now(UTC)
    seen = Seen(frozenset(), at, at)
    try:
        if certificates.is_issued_by(content, context.cluster.authority.certificate):
            names = frozenset(certificates.names_of(content))
            seen = Seen(names, certificates.expires_at(content), at)
    except ValueError:
        pass
    return _with_request(context, seen)


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
            return replace(seen, issued=key + pem, issued_names=frozenset(certificates.names_of(pem)))
    except ValueError:
        return replace(seen, requested_at=None)
    return seen
