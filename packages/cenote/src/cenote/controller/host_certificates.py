"""Signs the certificates that hosts of the fleet ask for, and renews that of the fleet's CA, whose key stays.

Names and roles are those that a host was admitted with, whatever its request says.  The CA's certificate is
renewed long before it ends, so that every host has had a certificate with it by then.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

from cenote.controller.election import Election
from cenote.errors import CenoteError, Misconfigured, Unavailable
from cenote.model.fleet_records import AdmittedHost, FleetAuthority
from cenote.model.timing import Timing
from cenote.security import certificates, fleet_certificates
from cenote.security.certificates import LEAF_LIFETIME
from cenote.security.sealing import Sealer
from cenote.store import Store

log = logging.getLogger(__name__)

RENEW_AUTHORITY_BEFORE = 2 * LEAF_LIFETIME
RETRY_SECONDS = 1.0


class HostCertificates:
    """The controller's share in the fleet; see ``Controller``."""

    def __init__(self, store: Store, sealer: Sealer, election: Election, timing: Timing) -> None:
        self._store, self._sealer, self._election, self._timing = store, sealer, election, timing
        self._refused: dict[str, int] = {}  # requests that cannot be answered: the last of each host
        self._passing: set[str] = set()  # those of them that may be answered later

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._election.elected.wait()
            try:
                await self._renew_authority()
                for id in self._open():
                    await self._answer(id)
            except CenoteError as error:
                log.warning("certificates of hosts: %s; trying again", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:  # it must not end the API
                log.exception("certificates of hosts: a defect in Cenote")
                await asyncio.sleep(RETRY_SECONDS)
            if await self._store.wait(lambda: self._open() or None, self._timing.certificate_interval):
                continue
            for id in self._passing:
                self._refused.pop(id, None)
            self._passing.clear()

    def _open(self) -> list[str]:
        """The hosts with a request that was not answered or refused."""
        requests = self._store.joining.requests()
        return [id for id, request in requests.items() if self._refused.get(id) != request.revision]

    async def _answer(self, id: str) -> None:
        joining = self._store.joining
        authority, request = joining.authority(), joining.requests().get(id)
        if authority is None or request is None:
            return
        admitted = joining.admitted().get(id)
        if admitted is None:
            self._refuse(id, request.revision, "it was not admitted, or was removed")
            return
        try:
            issued = signed(authority, self._sealer, request.value.pem, id, admitted)
        except Misconfigured as error:  # such as a CA's key whose sealing key comes to this host later
            self._refuse(id, request.revision, f"{error}; it is tried again")
            self._passing.add(id)
            return
        except (ValueError, UnsupportedAlgorithm) as error:
            self._refuse(id, request.revision, str(error))
            return
        except Exception:  # a stranger's request must not keep the others waiting
            log.exception("the certificate of host %s: a defect in Cenote", id)
            self._refused[id] = request.revision
            return
        await joining.issue(id, request.revision, issued, self._election.condition())
        log.info("the certificate of host %s is renewed", admitted.name)

    def _refuse(self, id: str, revision: int, why: str) -> None:
        self._refused[id] = revision
        log.error("no certificate for host %s: %s", id, why)

    async def _renew_authority(self) -> None:
        known = self._store.joining.authority()
        if known is None or not is_due(known, datetime.now(UTC)):
            return
        try:
            await self._store.joining.renew_authority(self._renewed, self._election.condition())
        except Misconfigured as error:
            raise Unavailable(error.message) from None

    def _renewed(self, known: FleetAuthority) -> FleetAuthority:
        if not is_due(known, datetime.now(UTC)):
            return known
        key = self._sealer.open(known.sealed_key).reveal()
        certificate, _ = fleet_certificates.new_authority(key.encode())
        return msgspec.structs.replace(known, certificate=certificate)


def is_due(authority: FleetAuthority, now: datetime) -> bool:
    """Return whether to renew the CA's certificate, so that no host's outlasts it."""
    ends: datetime = certificates.validity(authority.certificate.encode()).ends
    return ends - now < RENEW_AUTHORITY_BEFORE


def signed(authority: FleetAuthority, sealer: Sealer, request: str, id: str, host: AdmittedHost) -> str:
    """Return the certificate of an admitted host for its request, and the CA certificate."""
    names = fleet_certificates.names_of_host(id, host.address, host.roles)
    ca_key = sealer.open(authority.sealed_key).reveal()
    return fleet_certificates.sign(authority.certificate, ca_key, request, names)
