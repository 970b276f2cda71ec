"""The certificates with which the hosts of a fleet know one another: its CA, and one for each host.

A host's certificate has no common name, since etcd's JSON gateway refuses client certificates with one.  Its
names say where it is reached, who it is, and what it may do: ``<host id>.host.cenote``, and one such as
``api.cenote`` for each role.  It is for servers and for clients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cenote.model.fleet_records import HostRole
from cenote.rules import host_names
from cenote.security import certificates
from cenote.security.certificates import LEAF_LIFETIME

AUTHORITY_NAME = "Cenote fleet"
HOST_SUFFIX = ".host.cenote"
_STORE_MARK = "# For the store:\n"
_OURS = ".cenote"  # what the names end in that say who a host is and what it may do
_ROLE_NAMES = {f"{role}{_OURS}": role for role in HostRole}


def new_authority(key_pem: bytes | None = None, *, now: datetime | None = None) -> tuple[str, str]:
    """Return the certificate and the private key of a fleet's CA; with its key, a new certificate of it."""
    return certificates.new_authority(AUTHORITY_NAME, key_pem, now=now)


def authority_digest(certificate: str) -> str:
    """Return the SHA-256 of a CA's certificate in hex, which a joining host compares."""
    found = x509.load_pem_x509_certificate(certificate.encode("ascii"))
    return hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()


def is_usable_address(address: str) -> bool:
    """Return whether an address can be a name in a host's certificate: none that would give it a role."""
    return host_names.is_host(address) and not address.rstrip(".").lower().endswith(_OURS)


def names_of_host(host_id: str, address: str, roles: Iterable[HostRole]) -> tuple[str, ...]:
    """Return the names in a host's certificate; ``address`` is a host name or an IP address.

    ValueError for an address that says what only we may say.
    """
    if not is_usable_address(address):
        raise ValueError(f"{address!r} cannot be the address of a host")
    return (host_name(host_id), address, *map(role_name, sorted(roles)))


def host_name(host_id: str) -> str:
    """Return the name that says which host a certificate is of, also one of a cluster's CA."""
    return f"{host_id}{HOST_SUFFIX}"


def role_name(role: HostRole) -> str:
    """Return the name that the certificates of hosts with a role have, and no others."""
    return f"{role}{_OURS}"


def sign(
    ca_certificate: str,
    ca_key: str,
    request: str,
    names: Iterable[str],
    *,
    now: datetime | None = None,
    lifetime: timedelta = LEAF_LIFETIME,
) -> str:
    """Return a host's certificate for its request, and the CA certificate; ValueError for a bad request."""
    return certificates.sign(ca_certificate, ca_key, request, names, now=now, lifetime=lifetime, named=False)


def with_store(certificate: str, store_certificate: str) -> str:
    """Return what a host gets for one request: a cluster's certificate, and one for the fleet's store."""
    return f"{certificate}{_STORE_MARK}{store_certificate}"


def split(issued: str) -> tuple[str, str]:
    """Return both again; "" for the second if there is none."""
    certificate, _, store_certificate = issued.partition(_STORE_MARK)
    return certificate, store_certificate


def failover_name(cluster_id: UUID) -> str:
    """Return the name in the certificate with which Patroni of a cluster reaches the store, and no other."""
    return f"{cluster_id}.patroni{_OURS}"


def host_id_of(names: Iterable[str]) -> str:
    """Return the id of the host that a certificate with these names is of; "" if it is of none."""
    return next((name.removesuffix(HOST_SUFFIX) for name in names if name.endswith(HOST_SUFFIX)), "")


def roles_of(names: Iterable[str]) -> frozenset[HostRole]:
    """Return the roles that the names of a certificate give."""
    return frozenset(_ROLE_NAMES[name] for name in names if name in _ROLE_NAMES)
