"""This host's place in the fleet: its CA, and the certificate with which other hosts know this one.

A host that was given ``--address`` and no token begins a fleet, or belongs to the one of its store already.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from cenote.host import files, fleet_files
from cenote.host.identity import Identity
from cenote.model.fleet_records import AdmittedHost, FleetAuthority
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.security import certificates, fleet_certificates
from cenote.security.sealing import Sealer
from cenote.server.installation import Installation
from cenote.store import fleet
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys


async def ensure(installation: Installation, client: EtcdClient, known: Identity) -> None:
    """Have the fleet's CA and this host's certificate, when the service was given an address.

    For a host with the role ``api``, which can open the CA's key; the others get theirs when they join.
    """
    settings, layout = installation.settings, installation.layout
    if settings.address is None:
        return
    keys = Keys(settings.etcd.prefix)
    sealer = Sealer(layout.api_sealing_key)
    authority = await fleet.authority(client, keys) or await _begin(client, keys, sealer)
    earlier = await fleet.admitted(client, keys, known.host_id)
    admitted = msgspec.structs.replace(
        earlier or AdmittedHost(name="", address="", roles=(), at=datetime.now(UTC).replace(microsecond=0)),
        name=known.name,
        address=settings.address,
        roles=known.roles,
        zone=settings.zone,
        port=settings.fleet_port,
    )
    if admitted != earlier:
        await fleet.admit(client, keys, known.host_id, admitted)
    names = fleet_certificates.names_of_host(known.host_id, settings.address, known.roles)
    if not is_good(layout, authority.certificate, names):
        key, request = certificates.new_request()
        ca_key = sealer.open(authority.sealed_key).reveal()
        issued = fleet_certificates.sign(authority.certificate, ca_key, request, names)
        fleet_files.write(layout, key, issued, authority.certificate)


async def _begin(client: EtcdClient, keys: Keys, sealer: Sealer) -> FleetAuthority:
    certificate, key = fleet_certificates.new_authority()
    made = FleetAuthority(certificate=certificate, sealed_key=sealer.seal(Secret(key)))
    return await fleet.claim_authority(client, keys, made)


def is_good(layout: Layout, ca_certificate: str, names: tuple[str, ...]) -> bool:
    """Return whether this host's certificate is there, of this CA, for these names, and not due."""
    found, key = files.read(layout.fleet_certificate) or b"", files.read(layout.fleet_key) or b""
    try:
        return (
            certificates.is_for_key(found, key)
            and certificates.is_issued_by(found, ca_certificate)
            and set(certificates.names_of(found)) == set(map(certificates.normalized_name, names))
            and not certificates.validity(found).is_due(datetime.now(UTC))
        )
    except ValueError:
        return False
