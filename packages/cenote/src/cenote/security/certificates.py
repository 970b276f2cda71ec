"""X.509 certificates: a certificate authority (CA) for each cluster, and server certificates that it signs.

Keys are P-256: small, fast to generate, and supported by every client.  All input and output is PEM.

A clock that was wrong when a certificate was made must not matter once it is right.  Leaves are issued again
when they are not valid, yet or any more; the certificate of a CA, which clients keep, begins at a fixed date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cenote.rules import host_names

AUTHORITY_LIFETIME = timedelta(days=3650)
AUTHORITY_BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # an earlier date is that of a clock that was never set
LEAF_LIFETIME = timedelta(days=397)  # the longest that every client accepts
CLOCK_SKEW = timedelta(days=1)  # such as a hardware clock in local time, or a client in another one
RENEW_BEFORE = timedelta(days=30)

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Validity(NamedTuple):
    """The time in which a certificate is valid."""

    begins: datetime
    ends: datetime

    def covers(self, now: datetime) -> bool:
        return self.begins <= now < self.ends

    def is_due(self, now: datetime) -> bool:
        """Return whether to renew the certificate: it is not valid yet, has expired, or will soon."""
        return not self.covers(now + RENEW_BEFORE) or now < self.begins

    def problem(self, now: datetime) -> str:
        """Return why it is not valid, in words; "" if it is."""
        if now < self.begins:
            return f"not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
        return "" if now < self.ends else f"expired since {self.ends:%Y-%m-%d %H:%M} UTC"


def new_authority(
    common_name: str, key_pem: bytes | None = None, *, now: datetime | None = None
) -> tuple[str, str]:
    """Return the certificate and the private key of a new CA, or of one whose key is there.

    With its key and name, it takes the place of the former certificate wherever that is trusted.  ValueError
    for a text that is no such key.
    """
    ends = max(now or datetime.now(UTC), EARLIEST) + AUTHORITY_LIFETIME
    key = ec.generate_private_key(ec.SECP256R1()) if key_pem is None else _authority_key(key_pem)
    name = _distinguished_name(common_name)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key(), Validity(AUTHORITY_BEGINS, ends))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate).decode("ascii"), _key_pem(key).decode("ascii")


def constrained_authority(ca_certificate: str, ca_key: bytes, names: Iterable[str]) -> str:
    """Return a certificate of the same CA that is good for these names only, and for servers only.

    It has the CA's name and key, so clients that trust it accept what the CA has signed for the names, and
    refuse what a stolen key has signed for another one (RFC 5280, section 4.2.1.10).
    """
    authority = x509.load_pem_x509_certificate(ca_certificate.encode("ascii"))
    key = _authority_key(ca_key)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    permitted = [_constraint(name) for name in dict.fromkeys(names)]
    certificate = (
        _builder(authority.subject, authority.subject, key.public_key(), _validity(authority))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(own_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate).decode("ascii")


def _constraint(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_network(name))
    except ValueError:
        return x509.DNSName(name)


def fingerprint(pem: bytes) -> str:
    """Return the SHA-256 fingerprint of the first certificate in a text, as browsers show it."""
    return _first(pem).fingerprint(hashes.SHA256()).hex(":").upper()


def key_id(pem: bytes) -> str:
    """Return eight digits that tell the key of the first certificate in a text from others."""
    return x509.SubjectKeyIdentifier.from_public_key(_first(pem).public_key()).digest.hex()[:8]


def common_name(pem: bytes, *, issuer: bool = False) -> str:
    """Return the common name of the first certificate in a text, or that of the CA that signed it, or ""."""
    found = _first(pem)
    name = found.issuer if issuer else found.subject
    return next((str(one.value) for one in name.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def _authority_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of a CA of ours")
    return key


def is_for_clients(pem: bytes) -> bool:
    """Return whether the first certificate in a text can be shown to a server; earlier ones could not."""
    found = _first(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return ExtendedKeyUsageOID.CLIENT_AUTH in found


def issue(ca_certificate: str, ca_key: str, names: Iterable[str], *, now: datetime | None = None) -> bytes:
    """Return a server's private key, its certificate for these names, and the CA certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _key_pem(key) + _leaf(ca_certificate, ca_key, key.public_key(), names, now).encode("ascii")


def new_request() -> tuple[str, str]:
    """Return a new private key, and a certificate signing request (CSR) for it without names."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    return _key_pem(key).decode("ascii"), pem.decode("ascii")


def sign(
    ca_certificate: str,
    ca_key: str,
    request: str,
    names: Iterable[str],
    *,
    now: datetime | None = None,
    lifetime: timedelta = LEAF_LIFETIME,
    named: bool = True,
    common_name: str = "",
) -> str:
    """Return the certificate for the key of a request and these names, and the CA certificate.

    It is for servers and clients.  Its common name is the first name, unless there is another one; unless
    ``named`` it has none.  ValueError for a request that is
    malformed, or that its key has not signed.
    """
    key = key_of_request(request)
    return _leaf(ca_certificate, ca_key, key, names, now, lifetime=lifetime, named=named, subject=common_name)


def key_of_request(request: str) -> ec.EllipticCurvePublicKey:
    """Return the key that a request is for; ValueError unless it is one of ours that has signed it."""
    found = x509.load_pem_x509_csr(request.encode("ascii"))
    key = found.public_key()
    if not found.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the certificate request is not signed by its own key")
    return key


def _leaf(
    ca_certificate: str,
    ca_key: str,
    key: ec.EllipticCurvePublicKey,
    names: Iterable[str],
    now: datetime | None,
    *,
    lifetime: timedelta = LEAF_LIFETIME,
    named: bool = True,
    subject: str = "",
) -> str:
    authority = x509.load_pem_x509_certificate(ca_certificate.encode("ascii"))
    signer = serialization.load_pem_private_key(ca_key.encode("ascii"), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the CA key is not an elliptic curve key")
    names = list(dict.fromkeys(names))
    begins = (now or datetime.now(UTC)) - CLOCK_SKEW
    validity = Validity(begins, begins + lifetime)
    authority_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    name = _distinguished_name(subject or names[0]) if named else x509.Name([])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(name, authority.subject, key, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=not named
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return (_pem(certificate) + _pem(authority)).decode("ascii")


def is_for_key(pem: bytes, key: bytes) -> bool:
    """Return whether the first certificate in a text is for a private key; ValueError for malformed text."""
    private = serialization.load_pem_private_key(key, password=None)
    return _first(pem).public_key() == private.public_key()


def expires_at(pem: bytes) -> datetime:
    """Return when the first certificate in the text expires; a private key may precede it."""
    return _first(pem).not_valid_after_utc


def validity(pem: bytes) -> Validity:
    """Return when the first certificate in the text is valid; a private key may precede it."""
    return _validity(_first(pem))


def chain_validity(pem: bytes) -> Validity:
    """Return when all certificates in the text are valid; ValueError if there is none."""
    return _common_validity(b"".join(_CERTIFICATE.findall(pem)))


@lru_cache(maxsize=1024)  # of certificates alone, without their keys
def _common_validity(pem: bytes) -> Validity:
    found = [_validity(one) for one in x509.load_pem_x509_certificates(pem)]
    return Validity(max(one.begins for one in found), min(one.ends for one in found))


def _validity(certificate: x509.Certificate) -> Validity:
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def split(pem: str) -> list[str]:
    """Return the certificates in a text, each in PEM."""
    return [f"{found.decode('ascii')}\n" for found in _CERTIFICATE.findall(pem.encode("ascii"))]


def names_of(pem: bytes) -> tuple[str, ...]:
    """Return the subject alternative names of the first certificate in the text."""
    found = _first(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(general.value) for general in found)


def is_issued_by(pem: bytes, ca_certificate: str) -> bool:
    """Return whether this CA signed the first certificate in the text."""
    leaf = _first(pem)
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_certificate.encode("ascii")))
    except (InvalidSignature, TypeError, ValueError):  # another key, another kind of key, another name
        return False
    return True


def normalized_name(name: str) -> str:
    """Return an address as ``names_of`` spells it, a host name unchanged."""
    return host_names.spelled(name)


def _first(pem: bytes) -> x509.Certificate:
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("there is no certificate in the text")
    return x509.load_pem_x509_certificate(found[0])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
    )


def _distinguished_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
