"""How the processes of a service reach its store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cenote.errors import Misconfigured, Unavailable
from cenote.host import identity
from cenote.host.identity import Identity
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import HostRole
from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.server import logins
from cenote.server.installation import Installation
from cenote.server.settings import EtcdSettings
from cenote.store import HostStore, Store, etcd_options, member_file, members
from cenote.store.access import ROOT, Login, agent_user, api_user
from cenote.store.client import EtcdClient, EtcdError, LoginRefused
from cenote.store.etcd_http import Address
from cenote.store.etcd_options import Listening, Member
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = 0.1
HEIRS_SECONDS = 2.0  # between two questions to members that only learned


def is_external(installation: Installation) -> bool:
    """Whether the store is an etcd of the operator's."""
    return bool(installation.settings.etcd.endpoints)


def private_etcd(installation: Installation) -> PrivateEtcd | None:
    """Return the etcd of this host; None without the role store, and with an etcd of the operator's."""
    layout, known = installation.layout, identity.read(installation.layout)
    if is_external(installation) or (known is not None and HostRole.STORE not in known.roles):
        return None
    assert installation.programs.etcd is not None
    return PrivateEtcd(
        layout.etcd,
        installation.programs.etcd.path,
        clients=layout.etcd_client,
        group=installation.api.gid,
        servers=(layout.etcd_servers, installation.servers.gid),
        administrator=lambda socket: logins.root_client(socket, logins.ensure_passwords(layout)),
        member=_member(installation, known),
    )


def _member(installation: Installation, known: Identity | None) -> Member:
    """Return how the etcd of this host listens: for others, too, once it has its certificate of the fleet."""
    settings, layout = installation.settings, installation.layout
    if settings.address is None or known is None or not layout.fleet_certificate.exists():
        return Member()
    return member_at(layout, known, settings.address, FleetPorts.of(settings.fleet_port))


def member_at(layout: Layout, known: Identity, address: str, ports: FleetPorts) -> Member:
    """Return how the etcd of this host listens for others at an address, by its certificate of the fleet."""
    files = layout.fleet_certificate, layout.fleet_key, layout.fleet_authority
    return Member(etcd_options.name_of(known.host_id), Listening(address, ports.store, ports.peers, *files))


def has_members(layout: Layout) -> bool:
    """Whether this host knows others that are, or may be, members of its store."""
    return bool(member_file.read(layout.members))


def has_others(layout: Layout) -> bool:
    """Whether members of the store on other hosts are known."""
    known = identity.read(layout)
    return any(known is None or seat.host != known.host_id for seat in member_file.read(layout.members))


def check_there_is_one(installation: Installation) -> None:
    """Raise Misconfigured when the records would be nowhere: no etcd is here, of others or the user's."""
    if is_external(installation) or HostRole.STORE in installation.roles:
        return
    known = identity.read(installation.layout)
    own = "" if known is None else known.host_id
    seats = member_file.read(installation.layout.members)
    if any(seat.voter and (not own or seat.host != own) for seat in seats):
        return
    why = "no store of other hosts is known here" if not seats else "no etcd of another host votes"
    raise Misconfigured(
        f"without the role store this host has no etcd, and {why}, so the records would be nowhere; give it "
        "the role store (--roles), an etcd of your own with --etcd, or the token of a fleet with --join"
    )


def login(layout: Layout) -> Login:
    """Return what makes clients of etcd: by the member of this host first, then by those of others.

    A client reads its files at once, which the API's account cannot.
    """
    known = identity.read(layout)
    is_member = known is None or HostRole.STORE in known.roles
    socket = layout.etcd_client_socket if is_member else None
    addresses = member_file.Addresses(layout.members, "" if known is None else known.host_id, socket)
    return lambda user, password: _client(layout, socket, addresses, user, password)


def client_at(layout: Layout, host_id: str, url: str) -> EtcdClient:
    """Return a client of one member alone, without a login."""
    known = identity.read(layout)
    if (known is not None and known.host_id == host_id) or not url.startswith("https:"):
        return EtcdClient(socket=layout.etcd_client_socket)
    return _client(layout, None, lambda: [url], "", None)


def _client(
    layout: Layout,
    socket: Path | None,
    addresses: Callable[[], Sequence[Address]],
    user: str,
    password: Secret | None,
) -> EtcdClient:
    in_fleet = layout.fleet_certificate.exists()
    return EtcdClient(
        socket=socket,
        addresses=addresses,
        ca=layout.fleet_authority if in_fleet else None,
        certificate=layout.fleet_certificate if in_fleet else None,
        key=layout.fleet_key if in_fleet else None,
        fleet=True,
        username=user,
        password=password,
    )


def api_client(installation: Installation) -> EtcdClient:
    """Return the API's client of etcd; it reads the password, which the API's account cannot."""
    if is_external(installation):
        return external_client(installation.settings.etcd)
    password = logins.read(installation.layout.etcd_api_password)
    return login(installation.layout)(api_user(identity_of(installation).host_id), password)


def agent_client(installation: Installation) -> EtcdClient:
    if is_external(installation):
        return external_client(installation.settings.etcd)
    password = logins.read(installation.layout.etcd_agent_password)
    return login(installation.layout)(agent_user(identity_of(installation).host_id), password)


def root_client(installation: Installation) -> EtcdClient:
    """Return a client that may do everything, on a host that has the password of etcd's root."""
    if is_external(installation):
        return external_client(installation.settings.etcd)
    return login(installation.layout)(ROOT, logins.read(installation.layout.etcd_root_password))


async def start_etcd(layout: Layout, etcd: PrivateEtcd) -> bool:
    """Start the etcd of this host, and wait for the majority of its members, however long that takes.

    False if it does not start and there are others, as when it was removed while this host was away: then the
    agent does what has to be done.
    """
    try:
        await when_there(layout, etcd.start)
    except Misconfigured as error:
        if not has_others(layout):
            raise
        log.warning("%s", error.message)
        return False
    return True


async def when_there(layout: Layout, call: Callable[[], Awaitable[T]]) -> T:
    """Return what ``call`` returns, once most members of the store are there, however long that takes.

    Unavailable, at once, where the store has no members on other hosts.
    """
    told, asked = "", 0.0
    while True:
        try:
            return await call()
        except EtcdError:
            raise
        except Unavailable as error:
            if not has_others(layout):
                raise
            if error.message != told:
                log.warning("waiting for the store: %s; see 'cenote store status'", error.message)
            told = error.message
            if time.monotonic() - asked >= HEIRS_SECONDS:
                await _ask_heirs(layout)
                asked = time.monotonic()
        await asyncio.sleep(RETRY_SECONDS)


async def _ask_heirs(layout: Layout) -> None:
    """Find out where to ask when others vote now than when this host was here last."""
    found = await members.listed_by_heirs(
        member_file.read(layout.members), lambda host, url: client_at(layout, host, url)
    )
    if found:
        member_file.write(layout.members, member_file.of(found))


def external_client(external: EtcdSettings) -> EtcdClient:
    """Return a client of an etcd of the user's; its users and their rights are the user's as well."""
    return EtcdClient(
        urls=external.endpoints,
        ca=external.ca,
        certificate=external.certificate,
        key=external.key,
        username=external.user,
        password=external.password,
    )


def identity_of(installation: Installation) -> Identity:
    """Return who this host is, which the preparation has written down."""
    known = identity.read(installation.layout)
    if known is None:
        raise Misconfigured(f"{installation.layout.identity} is missing; start the service again")
    return known


@contextlib.contextmanager
def naming_etcd(installation: Installation) -> Iterator[None]:
    """Turn Unavailable into Misconfigured with the addresses when an etcd of the user's does not answer."""
    endpoints = installation.settings.etcd.endpoints
    try:
        yield
    except Unavailable as error:
        if not endpoints:
            raise
        raise Misconfigured(f"{error.message} (--etcd {', '.join(endpoints)})") from None


def not_let_in(error: LoginRefused) -> Misconfigured:
    """Return the error for a host whose login in the fleet's store has ended."""
    return Misconfigured(
        f"the store does not let this host in ({error.message}): it was probably removed from this service, "
        "and then 'cenote host list' on a host with the role api does not show it. Its servers are left as "
        "they are, and so are its data. To use this machine again, start it as a new host with another "
        "--data-dir and a token of 'cenote host token'"
    )


async def open_when_there(store: Store | HostStore, *, may_end: bool = False) -> None:
    """Open the store as soon as etcd answers, however long that takes.

    With ``may_end``, Misconfigured if this host is not let in any more.
    """
    waiting = False
    while True:
        try:
            await store.open()
        except Unavailable as error:
            if may_end and isinstance(error, LoginRefused):
                raise not_let_in(error) from None
            if not waiting:
                log.warning("waiting for the store: %s", error.message)
            waiting = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
