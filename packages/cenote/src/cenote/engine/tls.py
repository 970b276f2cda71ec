"""The certificate that both servers of a node show, signed by the cluster's own CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cenote.engine.context import NodeContext
from cenote.host import files
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model.changes import IssueCertificate, Plan
from cenote.security import certificates

RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` is empty when there is no certificate of ours, or one that cannot be read."""

    names: frozenset[str]
    expires_at: datetime
    at: datetime


async def look(_machine: Machine, wanted: NodeContext, _session: Session) -> Seen:
    content, at = files.read(wanted.paths.certificate) or b"", datetime.now(UTC)
    try:
        if certificates.is_issued_by(content, wanted.cluster.authority.certificate):
            return Seen(frozenset(certificates.names_of(content)), certificates.expires_at(content), at)
    except ValueError:
        pass
    return Seen(frozenset(), at, at)


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    names = (*wanted.cluster.server_names, *wanted.cluster.service_names)
    if seen.names != frozenset(names) or seen.expires_at - RENEW_BEFORE < seen.at:
        yield IssueCertificate(wanted.paths.certificate, names, wanted.cluster.authority)
