"""The certificate that the servers of a node show."""

from __future__ import annotations

from datetime import UTC, datetime

from cenote.engine.plan.certificate import Seen
from cenote.engine.plan.context import NodeContext
from cenote.host import files
from cenote.host.inspector import Inspector
from cenote.host.sql import Session
from cenote.security import certificates


async def look(_inspector: Inspector, context: NodeContext, _session: Session) -> Seen:
    content, at = files.read(context.paths.certificate) or b"", datetime.now(UTC)
    try:
        if certificates.is_issued_by(content, context.cluster.authority.certificate):
            return Seen(frozenset(certificates.names_of(content)), certificates.expires_at(content), at)
    except ValueError:
        pass
    return Seen(frozenset(), at, at)
