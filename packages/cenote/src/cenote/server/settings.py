"""Settings of a service: the options of ``cenote serve``."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cenote.errors import Misconfigured
from cenote.host import programs
from cenote.http.admission import MOST_OF_AN_ADDRESS
from cenote.logs.destinations import Network
from cenote.model.fleet_ports import COUNT, DEFAULT_FLEET_PORT, FleetPorts
from cenote.model.fleet_records import HostRole
from cenote.model.record import Secret
from cenote.rules import host_names
from cenote.security import fleet_certificates
from cenote.server.backup_settings import BackupSettings
from cenote.server.name_server_settings import NameServerSettings

# Some 2,500 clusters, since each should have ports of its own among all hosts.  The first gets the well-known
# ports; above the last one the kernel takes ports for outgoing connections (ip_local_port_range).
FIRST_PORT, LAST_PORT = 25060, 32767
# Requests per hour and minute for each token: those of the hosted product, and those where only programs of
# this machine reach the API.  A limit for bursts would stop a large Terraform workspace for minutes.
_PUBLIC_LIMITS = (5_000, 250)
_LOOPBACK_LIMITS = (100_000, 0)
_LOCALHOST = ("127.0.0.1", "::1")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")  # RFC 1123, section 2.1


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """An external etcd; without ``endpoints`` the service runs a private one."""

    endpoints: tuple[str, ...] = ()
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: Secret | None = None
    prefix: str = "/cenote/"


@dataclass(frozen=True, slots=True)
class ServiceCopySettings:
    """Where this host puts backups of the service, their passphrase's file, and how many days' are kept.

    Where it keeps backups of clusters, it puts them into that repository, too.
    """

    folder: Path | None
    passphrase_file: Path
    kept: int


@dataclass(frozen=True, slots=True)
class ServeSettings:
    data_dir: Path = field(default_factory=programs.default_data_dir)
    host: str = "127.0.0.1"
    port: int = 8443
    name: str | None = None  # of this host; None: what it is called already
    public_host: str | None = None
    domain: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    etcd: EtcdSettings = EtcdSettings()
    ephemeral: bool = False
    folder: Path | None = None  # of an ephemeral service; None: a new one
    reserves_ports: bool = False  # of the kernel's choice, instead of the range below
    account: str | None = None
    api_account: str | None = None
    postgres_dirs: tuple[Path, ...] = ()
    pgbouncer: Path | None = None
    first_port: int = FIRST_PORT
    last_port: int = LAST_PORT
    requests_per_hour: int | None = None  # for each token; None: by where the API listens
    requests_per_minute: int | None = None
    connections: int | None = None  # of the API; None: what the limit of file descriptors allows
    connections_per_address: int = MOST_OF_AN_ADDRESS
    log_sink_allow: tuple[Network, ...] = ()
    address: str | None = None  # where other hosts reach this one; None: it stands alone
    join: Secret | None = None  # a token of the fleet to join
    roles: tuple[HostRole, ...] = ()  # of this host; none given: those that it has, or all
    zone: str = ""
    fleet_port: int = DEFAULT_FLEET_PORT
    memory_overcommit: float | None = None  # how often a host's memory may be promised; None: without limit
    storage_overcommit: float | None = None
    distinct_hosts: bool = False  # the nodes of a new cluster share no host
    copy_rate_mib: int = 0  # a second, of the copy of a cluster's data from another host; 0: no limit
    undelete_days: int = 7  # for which a deleted cluster can be undeleted; 0: it is removed at once
    trash_days: int = 7  # 0: no trash
    dns: NameServerSettings | None = None
    service_copies: ServiceCopySettings | None = None
    backups: BackupSettings = field(default_factory=BackupSettings)

    def check(self) -> None:
        """Raise Misconfigured for invalid or contradictory settings."""
        if (self.certificate is None) != (self.key is None):
            raise Misconfigured("--tls-cert and --tls-key must be given together")
        if self.name is not None and not _HOST_NAME.fullmatch(self.name):
            raise Misconfigured(
                f"--name must be a host name such as db-1 or db-1.example.com, not {self.name!r}"
            )
        self._check_domain()
        if not 1024 <= self.first_port < self.last_port <= 65535:
            raise Misconfigured("--ports must be a range within 1024-65535, such as 25060-32767")
        if not 1024 <= self.fleet_port <= 65535 - COUNT:
            raise Misconfigured(
                f"--fleet-port must be the first of {COUNT} ports within 1024-65535, such as "
                f"{DEFAULT_FLEET_PORT}"
            )
        self._check_fleet()
        self.backups.check(self.data_dir, ephemeral=self.ephemeral)
        try:
            ip_address(self.host)
        except ValueError:
            raise Misconfigured(
                f"--host must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0, "
                f"not {self.host!r}"
            ) from None

    def _check_fleet(self) -> None:
        if self.zone and not _ZONE.fullmatch(self.zone):
            raise Misconfigured(
                f"--zone must be letters, digits, '.', '_' and '-', at most 63, not {self.zone!r}"
            )
        if self.address is None:
            for option, given in (("--join", self.join), ("--roles", self.roles), ("--zone", self.zone)):
                if given:
                    raise Misconfigured(f"{option} needs --address, where other hosts reach this one")
            return
        try:
            usable = not ip_address(self.address).is_unspecified
        except ValueError:
            usable = _HOST_NAME.fullmatch(self.address) is not None
            usable = usable and fleet_certificates.is_usable_address(self.address)
        if not usable:
            raise Misconfigured(
                "--address must be an IP address or host name at which other hosts reach this one, "
                f"not {self.address!r}"
            )
        if self.ephemeral:
            raise Misconfigured("--address needs a data directory that stays: leave --ephemeral out")

    def _check_domain(self) -> None:
        if self.domain is not None and not host_names.is_domain(self.domain):
            raise Misconfigured(
                f"--domain must be a domain such as db.example.com, of at most {host_names.LONGEST_DOMAIN} "
                f"characters, not {self.domain!r}"
            )
        if self.dns is not None:
            if self.domain is None:
                raise Misconfigured("--dns-server needs --domain, in which clusters get names")
            self.dns.check(self.domain)

    @property
    def join_place(self) -> tuple[str, int] | None:
        """Address and port at which new hosts ask to join; None if this one stands alone."""
        return None if self.address is None else (self.address, FleetPorts.of(self.fleet_port).join)

    @property
    def rate_limits(self) -> tuple[int, int]:
        """Requests per hour and per minute for each token; 0 is no limit."""
        hour, minute = _LOOPBACK_LIMITS if ip_address(self.host).is_loopback else _PUBLIC_LIMITS
        return (
            hour if self.requests_per_hour is None else self.requests_per_hour,
            minute if self.requests_per_minute is None else self.requests_per_minute,
        )

    @property
    def everywhere(self) -> bool:
        return ip_address(self.host).is_unspecified

    @property
    def reached_as(self) -> str:
        """The host name in connection strings."""
        if self.public_host is not None or self.address is not None:
            return self.public_host or self.address or ""
        if self.host in _LOCALHOST:
            return "localhost"
        return socket.getfqdn() if self.everywhere else self.host

    @property
    def names(self) -> tuple[str, ...]:
        """The subject alternative names of the API's certificate."""
        named = ["localhost", *_LOCALHOST, self.reached_as]
        if not self.everywhere:
            named.append(self.host)
        return tuple(dict.fromkeys(named))

    @property
    def listen(self) -> tuple[str, ...]:
        """The listen addresses of PostgreSQL and PgBouncer."""
        return ("0.0.0.0", "::") if self.everywhere else (self.host,)  # noqa: S104 - requested by the user
