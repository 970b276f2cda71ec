"""The certificate that both servers of a node show, signed by the cluster's own CA.

The host makes the key and asks for a certificate; the controller, which has the CA's key, signs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Remove, RequestCertificate, Wait, WriteFile
from cenote.security.certificates import Validity

ASK_AGAIN_AFTER = timedelta(seconds=30)  # a request may have been lost with the store's last seconds


@dataclass(frozen=True, slots=True)
class Seen:
    """``names`` is empty without a readable certificate of our CA.

    ``for_nodes``: the certificate can be shown to another node's server, and says which host it is of.

    ``requested_at`` is when the last request was made that is not answered yet; ``issued`` is the requested
    key with a certificate for it, ``issued_names`` are the names in that, and so on.
    """

    names: frozenset[str]
    validity: Validity
    at: datetime
    requested_at: datetime | None = None
    issued: bytes | None = field(default=None, repr=False)
    issued_names: frozenset[str] = frozenset()
    issued_validity: Validity | None = None
    issued_for_nodes: bool = True
    for_nodes: bool = True


def plan(context: NodeContext, seen: Seen) -> Plan:
    names = frozenset((*context.cluster.server_names, *context.cluster.service_names))
    paths = context.cluster_paths
    # Versions before moves issued certificates that only servers can show, and that do not name the host.
    is_fit = seen.for_nodes or context.is_alone
    if seen.names == names and is_fit and not seen.validity.is_due(seen.at):
        return
    is_valid = seen.issued_validity is not None and seen.issued_validity.covers(seen.at)
    is_issued_fit = seen.issued_for_nodes or context.is_alone
    if seen.issued is not None and seen.issued_names == names and is_issued_fit and is_valid:
        yield WriteFile(paths.certificate, seen.issued, 0o600, durable=True)
        yield Remove(paths.requested_key)
        return
    # What is not valid was signed by another clock, and what is not for nodes by a former version: asking at
    # once would not set that right.
    has_other_names = seen.issued is not None and seen.issued_names != names
    if has_other_names or not _is_waiting(seen):
        yield RequestCertificate(context.cluster.id, paths.requested_key)
    if seen.names != names or not is_fit:  # a certificate that is to be renewed holds nothing up
        yield Wait("the certificate is being issued")


def _is_waiting(seen: Seen) -> bool:
    """Return whether there is a fresh request; one of the future was made before the clock was set back."""
    if seen.requested_at is None:
        return False
    return seen.requested_at <= seen.at < seen.requested_at + ASK_AGAIN_AFTER


def problem(servers: Validity, authority: Validity, now: datetime) -> str:
    """Return why clients that verify the certificate cannot connect, in words; "" if they can."""
    clock = f"this host's clock says {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if why := authority.problem(now):
        return (
            f"the certificate of the cluster's CA is {why}, so clients that verify it cannot connect; "
            f"{clock}; if that is right, move the data to a new cluster"
        )
    if why := servers.problem(now):
        return f"the certificate of its servers is {why}; another one is being requested; {clock}"
    return ""
