"""The certificate that both servers of a node show, signed by the cluster's own CA.

The host makes the key and asks for a certificate; the controller, which has the CA's key, signs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Remove, RequestCertificate, Wait, WriteFile

RENEW_BEFORE = timedelta(days=30)
ASK_AGAIN_AFTER = timedelta(seconds=30)  # a request may have been lost with the store's last seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` is empty without a readable certificate of our CA.

    ``requested_at`` is when the last request was made that is not answered yet; ``issued`` is the requested
    key with a certificate for it, and ``issued_names`` are the names in that.
    """

    names: frozenset[str]
    expires_at: datetime
    at: datetime
    requested_at: datetime | None = None
    issued: bytes | None = field(default=None, repr=False)
    issued_names: frozenset[str] = frozenset()


def plan(context: NodeContext, seen: Seen) -> Plan:
    names = frozenset((*context.cluster.server_names, *context.cluster.service_names))
    paths = context.cluster_paths
    if seen.names == names and seen.expires_at - RENEW_BEFORE >= seen.at:
        return
    if seen.issued is not None and seen.issued_names == names:
        yield WriteFile(paths.certificate, seen.issued, 0o600, durable=True)
        yield Remove(paths.requested_key)
        return
    is_waiting = seen.requested_at is not None and seen.at - seen.requested_at < ASK_AGAIN_AFTER
    if seen.issued is not None or not is_waiting:
        yield RequestCertificate(context.cluster.id, paths.requested_key)
    if seen.names != names:  # a certificate that expires in some weeks holds nothing up
        yield Wait("the certificate is being issued")
