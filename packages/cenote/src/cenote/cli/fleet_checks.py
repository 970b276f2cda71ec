"""What ``cenote doctor`` finds out about the other hosts: their ports, their clocks, and their versions."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

import cenote
from cenote.cli.printer import CommandError
from cenote.cli.service_client import own_client
from cenote.errors import CenoteError
from cenote.host import files
from cenote.host.identity import Identity
from cenote.http import fleet_tls
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import HostRole
from cenote.model.joining import FLEET, FleetAnswer, skew_in_words
from cenote.model.paths import Layout
from cenote.server import fleet_hosts
from cenote_client import CenoteError as ClientError

SECONDS = 3.0  # for each connection
AT_ONCE = 16  # hosts


@dataclass(frozen=True, slots=True)
class OtherHost:
    name: str
    address: str
    port: int
    roles: frozenset[HostRole]
    cenote_version: str
    versions: frozenset[str]  # major ones of PostgreSQL

    @property
    def ports(self) -> Iterator[tuple[str, int]]:
        """What listens there, and where."""
        found = FleetPorts.of(self.port)
        if HostRole.API in self.roles:
            yield "the port for joining", found.join
        yield "the agent's port", found.agent
        if HostRole.STORE in self.roles:
            yield "etcd's port", found.store
            yield "etcd's port for its members", found.peers


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report; ``fix`` is given for errors."""

    kind: str
    what: str
    fix: str = ""


def findings(layout: Layout, known: Identity, here: frozenset[str]) -> list[Finding]:
    """Return what is to be said of the fleet; ``here`` are the major versions of PostgreSQL on this host.

    Nothing for a host that stands alone.
    """
    if not layout.fleet_certificate.exists():
        return []
    try:
        others = _others(layout, known)
    except (CenoteError, ClientError, CommandError, OSError) as error:
        return [
            Finding(
                "notice", f"the other hosts cannot be checked, since their list is not to be had: {error}"
            )
        ]
    if not others:
        return [Finding("ok", "this host is the only one of its fleet")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(lambda other: _of(other, layout, here), others)
        return [one for of_one in found for one in of_one]


def _others(layout: Layout, known: Identity) -> list[OtherHost]:
    if HostRole.API in known.roles:
        with own_client(layout) as client:
            listed = client.cenote.list_hosts()["hosts"]
        return [
            OtherHost(
                one["name"],
                one["fleet_address"],
                one["fleet_port"],
                frozenset(map(HostRole, one["roles"])),
                one["cenote_version"],
                frozenset(one["versions"]),
            )
            for one in listed
            if one["id"] != known.host_id and one["fleet_address"] and one["cenote_version"]  # it has started
        ]
    return [
        OtherHost(
            one.name,
            one.fleet_address,
            one.fleet_port,
            frozenset(one.roles),
            one.cenote_version,
            frozenset(one.versions),
        )
        for one in fleet_hosts.listed(layout)
        if one.id != known.host_id and one.fleet_address
    ]


def _of(other: OtherHost, layout: Layout, here: frozenset[str]) -> list[Finding]:
    found = [one for what, port in other.ports if (one := _unreachable(other, what, port)) is not None]
    if not found:
        found.append(Finding("ok", f"host {other.name} can be reached at {other.address}"))
    return [*found, *_clock(other, layout), *_versions(other, here)]


def _unreachable(other: OtherHost, what: str, port: int) -> Finding | None:
    try:
        socket.create_connection((other.address, port), SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        return Finding(
            "error",
            f"{what} of host {other.name}, {other.address} port {port}, cannot be reached: {why}",
            f"see that Cenote runs on {other.name}, and open ports {other.port} to {other.port + 3} between "
            "the hosts",
        )
    return None


def _clock(other: OtherHost, layout: Layout) -> Iterator[Finding]:
    ask = _time_of_api if HostRole.API in other.roles else _time_of_agent
    try:
        skew = _skew(lambda: ask(other, layout))
    except OSError:
        return  # it was told that the port cannot be reached
    except (ValueError, http.client.HTTPException, msgspec.DecodeError) as error:
        yield Finding("notice", f"the clock of host {other.name} cannot be compared: {error}")
        return
    words = skew_in_words(datetime.now(UTC) - skew)
    if words:
        yield Finding(
            "error",
            f"this host's clock is {words} that of host {other.name}",
            "set both by NTP (chrony, systemd-timesyncd)",
        )


def _skew(ask: Callable[[], datetime]) -> timedelta:
    """Return how far this host's clock is ahead of another; half of the time to ask is taken off."""
    began, at = time.monotonic(), datetime.now(UTC)
    there = ask()
    return at + timedelta(seconds=(time.monotonic() - began) / 2) - there


def _time_of_api(other: OtherHost, layout: Layout) -> datetime:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=layout.fleet_authority)
    connection = http.client.HTTPSConnection(
        other.address, FleetPorts.of(other.port).join, timeout=SECONDS, context=context
    )
    try:
        connection.request("GET", FLEET)
        return msgspec.json.decode(connection.getresponse().read(), type=FleetAnswer).now
    finally:
        connection.close()


def _time_of_agent(other: OtherHost, layout: Layout) -> datetime:
    """Return the date of whatever the agent answers; it may refuse the question."""
    certificate, key = files.read(layout.fleet_certificate) or b"", files.read(layout.fleet_key) or b""
    authority = (files.read(layout.fleet_authority) or b"").decode("ascii")
    connection = http.client.HTTPSConnection(
        other.address,
        FleetPorts.of(other.port).agent,
        timeout=SECONDS,
        context=fleet_tls.client_context(certificate, key, authority),
    )
    try:
        connection.request("GET", "/agent")
        return parsedate_to_datetime(connection.getresponse().getheader("date") or "")
    finally:
        connection.close()


def _versions(other: OtherHost, here: frozenset[str]) -> Iterator[Finding]:
    if other.cenote_version != cenote.__version__:
        yield Finding(
            "notice",
            f"host {other.name} runs Cenote {other.cenote_version or 'of an older version'}, this one "
            f"{cenote.__version__}: upgrade all hosts to the same",
        )
    if HostRole.DATABASE not in other.roles:
        return
    for missing, there in ((other.versions - here, "here"), (here - other.versions, f"on {other.name}")):
        if missing:
            names = ", ".join(sorted(missing, key=int))
            yield Finding(
                "notice",
                f"PostgreSQL {names} is not installed {there}: clusters of that version cannot move between "
                f"this host and {other.name}",
            )
