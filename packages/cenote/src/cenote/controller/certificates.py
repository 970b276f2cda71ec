"""Certificates for the servers of clusters: a host asks with a request, the controller signs it.

So the private keys of clusters' CAs stay with the API, and those of servers with their hosts.  The names come
from the cluster's record, never from the request.  The common name says which host it is of: by that the
nodes of a cluster that moves know one another.  Clients look at the other names.
"""

from __future__ import annotations

from cenote.model.fleet_records import CertificateRequest, FleetAuthority
from cenote.model.records import Cluster
from cenote.security import certificates, fleet_certificates
from cenote.security.sealing import Sealer


def names_of(cluster: Cluster) -> tuple[str, ...]:
    return *cluster.server_names, *cluster.service_names


def with_store(
    pem: str, request: CertificateRequest, authority: FleetAuthority, cluster: Cluster, sealer: Sealer
) -> str:
    """Add the certificate with which Patroni of a host reaches the store, to the one for the servers."""
    key = sealer.open(authority.sealed_key).reveal()
    names = (fleet_certificates.failover_name(cluster.id),)
    store_pem = fleet_certificates.sign(authority.certificate, key, request.pem, names)
    return fleet_certificates.with_store(pem, store_pem)


def issued(request: CertificateRequest, host_id: str, cluster: Cluster, sealer: Sealer) -> str:
    """Return a host's certificate with its CA's, in PEM; ValueError for a request that is not well-formed."""
    key = sealer.open(cluster.authority.sealed_key).reveal()
    return certificates.sign(
        cluster.authority.certificate,
        key,
        request.pem,
        names_of(cluster),
        common_name=fleet_certificates.host_name(host_id),
    )
