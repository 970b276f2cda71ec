"""A real name server (Knot DNS) that serves one zone on loopback and takes updates signed by a key."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from tests.support.ports import free_range
from tests.support.rsyslog import LIBRARIES, PROGRAMS
from tests.support.waiting import wait_until

ZONE = "db.example.test"
SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def key_file(folder: Path, name: str = "cenote", secret: str = SECRET) -> Path:
    """Write the key as ``tsig-keygen`` prints it."""
    path = folder / f"{name}.key"
    path.write_text(f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
    path.chmod(0o600)
    return path


class ZoneServer:
    """Serves ``ZONE``, in which ``www`` is somebody else's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_range(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for name in ("run", "db", "zones"):
            (self.folder / name).mkdir(exist_ok=True)
        zone = self.folder / "zones" / "zone"
        if not zone.exists():
            zone.write_text(
                f"$ORIGIN {ZONE}.\n@ 3600 SOA ns1 admin 1 3600 600 86400 5\n@ 3600 NS ns1\n"
                "ns1 3600 A 127.0.0.1\nwww 3600 A 192.0.2.9\n"
            )
        (self.folder / "knot.conf").write_text(self._configuration())
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [PROGRAMS / "usr" / "sbin" / "knotd", "-c", self.folder / "knot.conf"],
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(str(PROGRAMS / path) for path in LIBRARIES)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_until("the name server answers", 20, self._answers)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def pause(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)

    def leads_to(self, name: str) -> set[str]:
        """Return the addresses, or the alias, of a name in the zone."""
        found = set()
        for kind in ("A", "AAAA"):
            for one in self.ask(f"{name}.{ZONE}", kind).answer:
                found |= {rdata.to_text().removesuffix(".") for rdata in one}
        return found

    def texts(self, name: str) -> set[str]:
        return {rdata.to_text() for one in self.ask(f"{name}.{ZONE}", "TXT").answer for rdata in one}

    def ask(self, name: str, kind: str, seconds: float = 5) -> dns.message.Message:
        query = dns.message.make_query(f"{name}.", kind)
        return dns.query.udp_with_fallback(query, "127.0.0.1", port=self.port, timeout=seconds)[0]

    def _answers(self) -> bool:
        assert self._process is not None
        said = (self.folder / "out").read_text()
        assert self._process.poll() is None, f"knotd ended: {said}"
        try:
            return self.ask(ZONE, "SOA", 0.2).rcode() == dns.rcode.NOERROR
        except (OSError, dns.exception.Timeout):
            return False

    def _configuration(self) -> str:
        return f"""server:
    rundir: "{self.folder}/run"
    listen: 127.0.0.1@{self.port}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 2
log:
  - target: stderr
    any: info
database:
    storage: "{self.folder}/db"
key:
  - id: cenote
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: cenote
    key: cenote
    action: [update, query]
template:
  - id: default
    storage: "{self.folder}/zones"
    zonefile-sync: 0
zone:
  - domain: {ZONE}
    file: zone
    acl: cenote
"""


@contextlib.contextmanager
def name_server(folder: Path) -> Iterator[ZoneServer]:
    """The test is skipped where there is no such program."""
    if not (PROGRAMS / "usr" / "sbin" / "knotd").exists():
        pytest.skip("needs knotd: scripts/setup-tests.sh fetches it")
    folder.mkdir(exist_ok=True)
    server = ZoneServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGKILL)
