"""An etcd of somebody else's: on a TCP port, over TLS, asking for a client certificate and a password."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from cenote.model.record import Secret
from cenote.store import EtcdClient
from tests.support.etcd import etcd_program
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

    def client(self) -> EtcdClient:
        """Return a client that may do everything."""
        return EtcdClient(
            urls=[self.url],
            ca=self.certificate,
            certificate=self.certificate,
            key=self.key,
            username="root",
            password=Secret(PASSWORD),
        )


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
