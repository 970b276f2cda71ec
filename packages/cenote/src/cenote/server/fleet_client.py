"""What an API shows to the agents of other hosts: a certificate of the fleet that it issues to itself.

It has the fleet's CA, and after it has given up its rights no file with this host's key.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from cenote.errors import Misconfigured
from cenote.http import fleet_tls
from cenote.model.fleet_records import HostRole
from cenote.security import certificates, fleet_certificates
from cenote.security.certificates import Validity
from cenote.security.sealing import Sealer
from cenote.store import Store


class FleetClient:
    """``address`` is this host's, None for one that stands alone: it has no context."""

    def __init__(self, store: Store, sealer: Sealer, host_id: str, address: str | None) -> None:
        self._store, self._sealer, self._host_id, self._address = store, sealer, host_id, address
        self._made: tuple[str, ssl.SSLContext, Validity] | None = None

    def context(self) -> ssl.SSLContext | None:
        """Return the context for asking other hosts, None without a fleet."""
        authority = self._store.fleet_authority()
        if self._address is None or authority is None:
            return None
        made = self._made
        if made is None or made[0] != authority.certificate or made[2].is_due(datetime.now(UTC)):
            try:
                ca_key = self._sealer.open(authority.sealed_key).reveal()
            except Misconfigured:
                return None  # the ring of another service: its hosts are not ours
            key, request = certificates.new_request()
            names = fleet_certificates.names_of_host(self._host_id, self._address, (HostRole.API,))
            issued = fleet_certificates.sign(authority.certificate, ca_key, request, names).encode()
            context = fleet_tls.client_context(issued, key.encode(), authority.certificate)
            self._made = made = authority.certificate, context, certificates.validity(issued)
        return made[1]
