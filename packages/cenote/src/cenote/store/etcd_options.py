"""The command line of an etcd of ours: alone on a unix socket, or a member that others reach over TLS.

Pure.  What an etcd that runs was started with is compared with this, so that one that has to listen on more
is started again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import msgspec

ALONE = "cenote"  # the name of a member in versions that knew no others
CLIENT_SOCKET = "client.sock:0"  # etcd requires a port, and makes it a part of the name
PEER_SOCKET = "peer.sock:0"
QUOTA_BYTES = 1 << 30
STORE_HOSTS = "store.cenote"  # in the certificates of hosts with the role store, and in no others
_KNOWN_BY = ("name", "listen-client-urls", "listen-peer-urls", "advertise-client-urls", "election-timeout")


class Listening(msgspec.Struct, frozen=True):
    """Where other hosts reach an etcd, and the files of this host's certificate of the fleet.

    With a host name as the address, it listens on all addresses, since etcd binds to none by name.
    """

    address: str
    client_port: int
    peer_port: int
    certificate: Path
    key: Path
    authority: Path

    @property
    def client_url(self) -> str:
        return url(self.address, self.client_port)

    @property
    def peer_url(self) -> str:
        return url(self.address, self.peer_port)

    @property
    def listens_on(self) -> str:
        try:
            return str(ip_address(self.address))
        except ValueError:
            return "0.0.0.0"  # noqa: S104 - every connection needs a certificate of the fleet


class Member(msgspec.Struct, frozen=True):
    """One member: its name, and how others reach it, if they do."""

    name: str = ALONE
    listening: Listening | None = None

    @property
    def peer_url(self) -> str:
        return f"unix://{PEER_SOCKET}" if self.listening is None else self.listening.peer_url


def name_of(host_id: str) -> str:
    """Return the name of the member on a host."""
    return f"{ALONE}-{host_id}"


def host_of(name: str) -> str:
    """Return the id of the host whose member has this name; "" for one that has not told its name yet."""
    return name.removeprefix(f"{ALONE}-") if name.startswith(f"{ALONE}-") else ""


def is_ours(command: Sequence[bytes]) -> bool:
    """Return whether a command line is that of an etcd of ours."""
    name = _given(command).get("name", "")
    return name == ALONE or bool(host_of(name))


def of(member: Member, initial_cluster: str = "") -> dict[str, str]:
    """Return the options; ``initial_cluster`` has all members, for one that joins others."""
    client, peer, listening = f"unix://{CLIENT_SOCKET}", member.peer_url, member.listening
    listens, listens_to_peers = client, peer
    if listening is not None:
        listens = f"{client},{url(listening.listens_on, listening.client_port)}"
        listens_to_peers = url(listening.listens_on, listening.peer_port)
    options = {
        "name": member.name,
        "data-dir": "data",
        "listen-client-urls": listens,
        "advertise-client-urls": client if listening is None else listening.client_url,
        "listen-peer-urls": listens_to_peers,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": initial_cluster or f"{member.name}={peer}",
        "initial-cluster-state": "existing" if initial_cluster else "new",
        **_TIMES[listening is not None],
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1m",
        # Passwords are random, so a slow hash protects nothing; the default one costs 0.3 s a login.
        "bcrypt-cost": "4",
        "quota-backend-bytes": str(QUOTA_BYTES),
        "snapshot-count": "10000",
        "logger": "zap",
        "log-level": "warn",
    }
    return options if listening is None else options | _tls(listening)


# A restart alone waits for about two of these milliseconds' spans.  Shorter ones cost an idle etcd measurably
# more of a core (1.1 % with these, 2.5 % with 20 and 4).  Between hosts they are etcd's own.
_TIMES: Mapping[bool, dict[str, str]] = {
    False: {"election-timeout": "50", "heartbeat-interval": "10"},
    True: {"election-timeout": "1000", "heartbeat-interval": "100"},
}


def _tls(listening: Listening) -> dict[str, str]:
    certificate, key, authority = map(str, (listening.certificate, listening.key, listening.authority))
    return {
        "cert-file": certificate,
        "key-file": key,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        # Every host has a certificate; those with the role store alone may speak as members.
        "peer-cert-allowed-hostname": STORE_HOSTS,
        # One that was cut off or frozen and comes back does not end the leader's term.
        "pre-vote": "true",
        # A connection may come from another address of the host than the one in its certificate.
        "experimental-peer-skip-client-san-verification": "true",
    }


def command_line(etcd: Path, options: Mapping[str, str]) -> list[str]:
    return [str(etcd), *(f"--{name}={value}" for name, value in options.items())]


def started_otherwise(command: Sequence[bytes], member: Member) -> bool:
    """Return whether an etcd with this command line listens elsewhere, or is named otherwise."""
    given, wanted = _given(command), of(member)
    return any(given.get(name) != wanted[name] for name in _KNOWN_BY)


def _given(command: Sequence[bytes]) -> dict[str, str]:
    """Return the options of a command line; former versions gave name and value as two words."""
    words = [word.decode(errors="replace") for word in command]
    given = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            given[name[2:]] = value if equals else following
    return given


def url(address: str, port: int) -> str:
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"
