"""An etcd of somebody else's: over TLS, with a user and a password, at one of several addresses."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cenote.domain import Secret
from cenote.errors import Misconfigured, Unavailable
from cenote.store import Gateway, Store, patience
from tests.support.etcd import bare_cluster, etcd_program
from tests.support.ports import free_range
from tests.support.waiting import wait_until_async

PASSWORD = "a password for a test"


def certificate_for_everything() -> tuple[bytes, bytes]:
    """One certificate that vouches for itself, as authority, as server and as client; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    # etcd's gateway refuses clients whose certificate has a CommonName when it asks for passwords as well.
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "an etcd under test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


@dataclass
class Outside:
    url: str
    dead_url: str
    certificate: Path
    key: Path


@asynccontextmanager
async def outside_etcd() -> AsyncIterator[Outside]:
    """An etcd on a loopback port that asks for a client certificate and a password."""
    folder = Path(tempfile.mkdtemp(prefix="cenote-etcd-"))
    certificate, key = certificate_for_everything()
    (folder / "crt").write_bytes(certificate)
    (folder / "key").write_bytes(key)
    client = free_range(3)
    url, peer_url = f"https://127.0.0.1:{client}", f"http://127.0.0.1:{client + 1}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *[str(etcd_program()), "--name", "outside", "--data-dir", str(folder / "data")],
            *["--listen-client-urls", url, "--advertise-client-urls", url],
            *["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url],
            *["--initial-cluster", f"outside={peer_url}", "--auth-token-ttl", "1"],
            *["--cert-file", str(folder / "crt"), "--key-file", str(folder / "key")],
            *["--trusted-ca-file", str(folder / "crt"), "--client-cert-auth"],
            stdout=log,
            stderr=log,
        )
    try:
        outside = Outside(url, f"https://127.0.0.1:{client + 2}", folder / "crt", folder / "key")
        await _ask_for_passwords(outside)
        yield outside
    except BaseException:
        sys.stderr.write((folder / "log").read_text())
        raise
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(folder)


async def _ask_for_passwords(outside: Outside) -> None:
    tls = ssl.create_default_context(cafile=outside.certificate)
    tls.load_cert_chain(outside.certificate, outside.key)
    async with httpx.AsyncClient(verify=tls, base_url=outside.url) as client:

        async def answers() -> bool:
            try:
                return (await client.get("/health")).status_code == httpx.codes.OK
            except (httpx.HTTPError, OSError):
                return False

        await wait_until_async("etcd answers", 20, answers)
        for path, request in (
            ("user/add", {"name": "root", "password": PASSWORD}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("enable", {}),
        ):
            (await client.post(f"/v3/auth/{path}", json=request)).raise_for_status()


def with_outside(scenario: Callable[[Outside], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with outside_etcd() as outside:
            await scenario(outside)

    asyncio.run(whole())


def gateway_to(outside: Outside, *, password: str = PASSWORD) -> Gateway:
    """The first of its two addresses leads nowhere."""
    return Gateway(
        urls=[outside.dead_url, outside.url],
        ca=outside.certificate,
        certificate=outside.certificate,
        key=outside.key,
        username="root",
        password=Secret(password),
    )


def test_records_are_kept_there_also_when_the_login_has_run_out() -> None:
    async def scenario(outside: Outside) -> None:
        gateway = gateway_to(outside)
        store = Store(gateway)
        await store.open()
        try:
            await store.add_cluster(bare_cluster("a", 25060))
            await asyncio.sleep(2.5)  # longer than etcd lets a login stand unused
            await store.add_cluster(bare_cluster("b", 25070))
            assert {stored.value.name for stored in store.clusters()} == {"a", "b"}
            assert store.connected
        finally:
            await store.close()
            await gateway.close()

    with_outside(scenario)


def test_a_wrong_password_is_refused_and_not_shown() -> None:
    async def scenario(outside: Outside) -> None:
        gateway = gateway_to(outside, password="wrong-password")
        store = Store(gateway)
        try:
            with pytest.raises(Unavailable, match="etcd refused") as refusal:
                await store.open()
            assert "wrong-password" not in str(refusal.value)
        finally:
            await store.close()
            await gateway.close()

    with_outside(scenario)


def test_an_etcd_of_another_authority_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.1)

    async def scenario(outside: Outside) -> None:
        gateway = Gateway(urls=[outside.url], username="root", password=Secret(PASSWORD))
        try:
            with pytest.raises(Unavailable, match="cannot be reached"):
                await Store(gateway).open()
        finally:
            await gateway.close()

    with_outside(scenario)


def test_tls_files_that_cannot_be_read_are_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="TLS files"):
        Gateway(urls=["https://127.0.0.1:1"], ca=tmp_path / "missing")


def test_an_etcd_has_to_be_given() -> None:
    with pytest.raises(Misconfigured, match="no etcd endpoint"):
        Gateway()
