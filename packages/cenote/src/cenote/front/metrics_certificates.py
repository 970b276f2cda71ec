"""The certificates that metrics ports show: issued by the clusters' own CAs, and kept in memory only."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cenote.errors import Misconfigured
from cenote.model.records import Cluster
from cenote.security import certificates
from cenote.security.certificates import Validity
from cenote.security.sealing import Sealer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Issued:
    authority: str
    names: tuple[str, ...]
    validity: Validity
    content: bytes


class MetricsCertificates:
    """Issues one for each cluster when it is first shown, and again when its names or its CA change."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._issued: dict[UUID, _Issued] = {}

    def of(self, cluster: Cluster, now: datetime | None = None) -> bytes | None:
        """Return key and certificate in PEM; None if the key of the cluster's CA does not open."""
        now = now or datetime.now(UTC)
        names = (*cluster.server_names, *cluster.service_names)
        authority = cluster.authority.certificate
        found = self._issued.get(cluster.id)
        if (
            found is None
            or (found.authority, found.names) != (authority, names)
            or found.validity.is_due(now)
        ):
            try:
                key = self._sealer.open(cluster.authority.sealed_key).reveal()
            except Misconfigured as error:
                log.error("cluster %s: no certificate for its metrics: %s", cluster.name, error.message)
                return None
            content = certificates.issue(authority, key, names, now=now)
            found = _Issued(authority, names, certificates.validity(content), content)
            self._issued[cluster.id] = found
        return found.content

    def forget(self, id: UUID) -> None:
        """Drop the certificate of a cluster whose port is closed."""
        self._issued.pop(id, None)
