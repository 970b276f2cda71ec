"""The options for the name server that is told clusters' names: ``--dns-server`` and what belongs to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.rules import host_names
from cenote.security import tsig_keys
from cenote.security.tsig_keys import TsigKey
from cenote.server import secret_file

PORT = 53
_SERVER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class NameServerSettings:
    """``server`` is HOST or HOST:PORT; ``zone`` is what it is asked to change, by default the domain."""

    server: str
    key_file: Path
    zone: str

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port; Misconfigured for another text."""
        try:
            return str(ip_address(self.server)), PORT
        except ValueError:
            found = _SERVER.fullmatch(self.server)
        port = PORT if found is None or found["port"] is None else int(found["port"])
        if (
            found is None
            or not 0 < port < 65536
            or not host_names.is_remote_host(found["v6"] or found["host"])
        ):
            raise Misconfigured(
                "--dns-server must be a host with or without a port, such as 192.0.2.1, ns1.example.com:5353 "
                f"or [2001:db8::1]:53, not {self.server!r}"
            )
        return found["v6"] or found["host"], port

    def check(self, domain: str) -> None:
        """Raise Misconfigured for what cannot work, also for the file of the key."""
        assert self.address
        if domain != self.zone and not domain.endswith(f".{self.zone}"):
            raise Misconfigured(f"--domain {domain} is not in --dns-zone {self.zone}")
        self.key()

    def key(self) -> TsigKey:
        """Read the key; Misconfigured when others may read it, too."""
        return secret_file.parsed("--dns-key-file", self.key_file, tsig_keys.parse)
