"""The certificate that both servers of a node show, signed by the cluster's own CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import IssueCertificate, Plan

RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` is empty without a readable certificate of our CA."""

    names: frozenset[str]
    expires_at: datetime
    at: datetime


def plan(context: NodeContext, seen: Seen) -> Plan:
    names = (*context.cluster.server_names, *context.cluster.service_names)
    if seen.names != frozenset(names) or seen.expires_at - RENEW_BEFORE < seen.at:
        yield IssueCertificate(context.paths.certificate, names, context.cluster.authority)
