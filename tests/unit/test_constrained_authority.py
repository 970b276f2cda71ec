"""The certificate that ``cenote trust`` adds: it is good for the names of the service, and for no other."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

import pytest

from cenote.http import tls_context
from cenote.security import certificates

NAMES = ("localhost", "db.example.com", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def authority() -> tuple[str, str]:
    return certificates.new_authority("Cenote CA of a host")


def greet(trusted: str, leaf: bytes, name: str) -> None:
    """A TLS handshake in memory; ssl.SSLCertVerificationError when the client refuses the certificate."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=trusted).wrap_bio(to_client, to_server, server_hostname=name)
    server = tls_context.server_context(leaf).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for one in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                one.do_handshake()


def leaf_of(authority: tuple[str, str], names: Sequence[str]) -> bytes:
    return certificates.issue(*authority, names)


@pytest.mark.parametrize("name", NAMES)
def test_the_services_own_certificate_is_accepted(authority: tuple[str, str], name: str) -> None:
    trusted = certificates.constrained_authority(authority[0], authority[1].encode(), NAMES)
    greet(trusted, leaf_of(authority, NAMES), name)


@pytest.mark.parametrize("name", ["bank.example", "example.com", "db.example.org", "10.0.0.1", "::2"])
def test_a_certificate_for_another_name_is_refused(authority: tuple[str, str], name: str) -> None:
    stolen = leaf_of(authority, [name])
    greet(authority[0], stolen, name)  # by those who trust the CA for every name
    trusted = certificates.constrained_authority(authority[0], authority[1].encode(), NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        greet(trusted, stolen, name)


def test_names_of_one_kind_open_no_other_kind(authority: tuple[str, str]) -> None:
    trusted = certificates.constrained_authority(authority[0], authority[1].encode(), NAMES)
    for mixed in (["localhost", "10.0.0.1"], ["127.0.0.1", "bank.example"]):
        with pytest.raises(ssl.SSLCertVerificationError):
            greet(trusted, leaf_of(authority, mixed), mixed[0])


def test_the_fingerprint_is_that_of_openssl(authority: tuple[str, str]) -> None:
    digest = certificates.fingerprint(authority[0].encode())
    assert len(digest) == 32 * 3 - 1
    assert digest == digest.upper()
    assert certificates.key_id(authority[0].encode()) == certificates.key_id(
        certificates.constrained_authority(authority[0], authority[1].encode(), NAMES).encode()
    )
