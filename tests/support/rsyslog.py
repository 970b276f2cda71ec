"""A real rsyslogd that writes what it gets into a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cenote.security import certificates
from tests.support.ports import free_range
from tests.support.waiting import wait_until

PROGRAMS = Path(__file__).parents[2] / "build" / "programs"
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
FIELDS = ("pri", "timestamp:::date-rfc3339", "hostname", "app-name", "procid", "structured-data", "msg")


def rsyslogd() -> Path:
    """Return the program; the test is skipped where there is none."""
    program = PROGRAMS / "usr" / "sbin" / "rsyslogd"
    if not program.exists():
        pytest.skip("needs rsyslogd: scripts/setup-tests.sh fetches it")
    return program


@dataclass(frozen=True)
class Line:
    """A message as rsyslog has understood it."""

    pri: int
    at: str
    host: str
    app: str
    process: str
    data: str
    text: str


class Rsyslog:
    """Listens on a port of its own on loopback; with ``authority``, a CA and its key, by TLS.

    With ``asks`` clients need a certificate of that authority.
    """

    def __init__(self, folder: Path, authority: tuple[str, str] | None = None, *, asks: bool = False) -> None:
        self._folder, self._authority, self._asks = folder, authority, asks
        self.port = free_range(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = self._folder
        (folder / "conf").write_text(self._configuration())
        root = [PROGRAMS / path for path in LIBRARIES]
        modules = next(path / "rsyslog" for path in root if (path / "rsyslog").exists())
        with (folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [rsyslogd(), "-n", "-i", folder / "pid", "-f", folder / "conf", "-M", modules],
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, root))},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_until("rsyslogd listens", 20, self._listens)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def lines(self) -> list[Line]:
        """Return what has come, each message with its fields."""
        found = []
        for line in self.raw("fields"):
            pri, *fields = line.split("\x1f")
            found.append(Line(int(pri), *fields))
        return found

    def texts(self) -> list[str]:
        return [line.text for line in self.lines()]

    def raw(self, file: str = "raw") -> list[str]:
        """Return what has come, as it came."""
        path = self._folder / file
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def _listens(self) -> bool:
        assert self._process is not None
        said = (self._folder / "out").read_text()
        assert self._process.poll() is None, f"rsyslogd ended: {said}"
        ports = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        return f":{self.port:04X} 0" in ports

    def _configuration(self) -> str:
        folder = self._folder
        lines = [f'global(workDirectory="{folder}" maxMessageSize="64k" net.enableDNS="off")']
        driver = ""
        if self._authority is not None:
            issued = certificates.issue(*self._authority, ["localhost", "127.0.0.1"])
            (folder / "server.pem").write_bytes(issued)
            (folder / "ca.pem").write_text(self._authority[0])
            lines[0] = lines[0][:-1] + (
                f' defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{folder}/ca.pem"'
                f' defaultNetstreamDriverCertFile="{folder}/server.pem"'
                f' defaultNetstreamDriverKeyFile="{folder}/server.pem")'
            )
            mode = "x509/certvalid" if self._asks else "anon"
            driver = f' streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{mode}"'
        fields = "\x1f".join(f"%{field}%" for field in FIELDS)
        lines += [
            # What it has read it writes at once: lines in a queue of its own would be lost when it is killed.
            'main_queue(queue.type="Direct")',
            f'module(load="imtcp"{driver})',
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}")',
            'template(name="raw" type="string" string="%rawmsg%\\n")',
            f'template(name="fields" type="string" string="{fields}\\n")',
            f'action(type="omfile" file="{folder}/raw" template="raw" asyncWriting="off")',
            f'action(type="omfile" file="{folder}/fields" template="fields" asyncWriting="off")',
        ]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def rsyslog(
    folder: Path, authority: tuple[str, str] | None = None, *, asks: bool = False
) -> Iterator[Rsyslog]:
    folder.mkdir(exist_ok=True)
    server = Rsyslog(folder, authority, asks=asks)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGKILL)


def client_certificate(authority: tuple[str, str]) -> tuple[str, str]:
    """Return a client's certificate that this CA has signed, and its key."""
    issuer = x509.load_pem_x509_certificate(authority[0].encode())
    signer = serialization.load_pem_private_key(authority[1].encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a client under test")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(pem).decode(), text.decode()
