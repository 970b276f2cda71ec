from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cenote.model.record import Secret
from cenote.model.records import UserRole
from cenote.security import certificates, credentials, scram
from cenote.security.sealing import Sealer

NAMES = ("localhost", "127.0.0.1", "::1", "db.example.com")


def test_a_verifier_is_the_one_of_the_published_exchange() -> None:
    # The exchange of RFC 7677 section 3: user "user", password "pencil", this salt, 4096 rounds.
    made = scram.verifier("pencil", salt=b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    stored_key, server_key = made.rpartition("$")[2].split(":")
    import hashlib
    import hmac

    exchange = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    proof = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(b64decode(stored_key), exchange, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == b64decode(stored_key)
    assert hmac.digest(b64decode(server_key), exchange, "sha256") == b64decode(
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )


def test_a_verifier_has_the_form_that_the_servers_read() -> None:
    assert re.fullmatch(
        r"SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=", scram.verifier("x")
    )


def test_two_verifiers_of_one_password_differ() -> None:
    assert scram.verifier("x") != scram.verifier("x")


def test_a_password_that_would_need_preparing_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        scram.verifier("pässword")


def test_a_new_user_has_a_long_password_of_letters_and_digits_behind_a_seal(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "key")
    user = credentials.new_user("app", sealer, UserRole.NORMAL)
    password = sealer.open(user.sealed_password).reveal()
    assert re.fullmatch(r"cenote[A-Za-z0-9]{24}", password)
    assert password not in repr(user)
    assert sealer.open(user.sealed_password) == Secret(password)


def test_an_authority_signs_a_leaf_for_all_names_and_addresses() -> None:
    ca, key = certificates.new_authority("an authority")
    leaf = x509.load_pem_x509_certificates(certificates.issue(ca, key, NAMES))[0]
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["localhost", "db.example.com"]
    assert found.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]


def test_a_leaf_is_for_servers_and_clients_and_no_authority() -> None:
    ca, key = certificates.new_authority("an authority")
    leaf = x509.load_pem_x509_certificates(certificates.issue(ca, key, NAMES))[0]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_certificates_are_good_for_clocks_that_are_a_little_late() -> None:
    ca, key = certificates.new_authority("an authority")
    now = datetime.now(UTC)
    for certificate in x509.load_pem_x509_certificates(certificates.issue(ca, key, NAMES)):
        assert certificate.not_valid_before_utc < now - timedelta(hours=23)


@pytest.mark.parametrize("wrong", [timedelta(days=-20_000), timedelta(hours=-1), timedelta(days=400)])
def test_an_authority_made_by_a_wrong_clock_is_valid_by_the_right_one_and_its_leaf_is_due(
    wrong: timedelta,
) -> None:
    now = datetime.now(UTC)
    ca, key = certificates.new_authority("an authority", now=now + wrong)
    leaf = certificates.issue(ca, key, NAMES, now=now + wrong)
    assert certificates.validity(ca.encode()).covers(now)
    assert certificates.validity(leaf).is_due(now) == (abs(wrong) > certificates.CLOCK_SKEW)
    again = certificates.issue(ca, key, NAMES, now=now)
    assert certificates.chain_validity(again).covers(now)
    assert not certificates.validity(again).is_due(now)


def test_a_certificate_is_due_before_it_expires_and_before_it_begins() -> None:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert not certificates.Validity(now - day, now + 31 * day).is_due(now)
    assert certificates.Validity(now - day, now + 29 * day).is_due(now)
    assert certificates.Validity(now + day, now + 90 * day).is_due(now)
    assert certificates.Validity(now + 29 * day, now + 90 * day).problem(now).startswith("not valid before")
    assert certificates.Validity(now - 9 * day, now - day).problem(now).startswith("expired since")


def test_a_chain_is_valid_as_long_as_all_of_it() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ca, key = certificates.new_authority("an authority", now=now)
    late = now + timedelta(days=3500)
    leaf = certificates.issue(ca, key, NAMES, now=late)
    assert certificates.chain_validity(leaf).ends == certificates.expires_at(ca.encode())
    assert certificates.chain_validity(leaf).begins == late - certificates.CLOCK_SKEW


def test_an_authority_outlives_its_leaves() -> None:
    ca, key = certificates.new_authority("an authority")
    leaf = certificates.issue(ca, key, NAMES)
    assert certificates.expires_at(ca.encode()) - certificates.expires_at(leaf) > timedelta(days=3000)


def test_the_names_of_a_leaf_are_read_back_in_the_spelling_that_is_recorded() -> None:
    ca, key = certificates.new_authority("an authority")
    names = [certificates.normalized_name(name) for name in ("0:0:0:0:0:0:0:1", "db.example.com", "10.0.0.7")]
    assert certificates.names_of(certificates.issue(ca, key, names)) == tuple(names)


def test_a_leaf_is_known_by_its_authority_and_by_no_other_of_the_same_name() -> None:
    ca, key = certificates.new_authority("an authority")
    other, _ = certificates.new_authority("an authority")
    leaf = certificates.issue(ca, key, NAMES)
    assert certificates.is_issued_by(leaf, ca)
    assert not certificates.is_issued_by(leaf, other)


def test_a_text_without_a_certificate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no certificate"):
        certificates.is_issued_by(b"nothing", "nothing")


def test_a_client_that_verifies_fully_accepts_the_leaf(tmp_path: Path) -> None:
    ca, key = certificates.new_authority("an authority")
    (tmp_path / "server.pem").write_bytes(certificates.issue(ca, key, NAMES))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with server.wrap_socket(theirs, server_side=True) as wrapped:
            wrapped.sendall(b"hello")

    serving = threading.Thread(target=serve)
    serving.start()
    client = ssl.create_default_context(cadata=ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with client.wrap_socket(ours, server_hostname="db.example.com") as wrapped:
        assert wrapped.recv(5) == b"hello"
    serving.join()
