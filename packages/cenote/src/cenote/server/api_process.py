"""The API's process: API, console and the customers' metrics ports, under an account of its own.

The certificate, and every file that is the service's, are read before it gives up its rights: afterwards it
can reach its own folder with the key rings, the store, the agent's socket, and what everybody can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn.server import ServerState

from cenote.api.app import create_app
from cenote.api.service import Settings
from cenote.console import with_console
from cenote.controller.controller import Controller
from cenote.controller.failover_logins import FailoverLogins
from cenote.controller.store_members import StoreMembers
from cenote.errors import Misconfigured
from cenote.front.host_admission import HostAdmission
from cenote.front.join_endpoint import JoinEndpoint
from cenote.front.metrics_endpoint import MetricsEndpoint
from cenote.host import identity, oom, privileges
from cenote.http import server as http_server
from cenote.http import tls_context
from cenote.http.admission import Admission, most_by_descriptors
from cenote.model.fleet_records import HostDomain
from cenote.rules.scheduling import Overcommit
from cenote.security import certificates
from cenote.security.certificates import Validity
from cenote.security.sealing import Rings, Sealer
from cenote.server import child, event_loop, store_door, stores
from cenote.server.child import Certificate, Channel, Ready, Used
from cenote.server.fleet_client import FleetClient
from cenote.server.installation import Installation
from cenote.server.key_receiver import KeyReceiver
from cenote.stats.remote_observer import RemoteObserver
from cenote.stats.routed_observer import RoutedObserver
from cenote.store import Store
from cenote.store.client import EtcdClient
from cenote.store.keys import Keys

if TYPE_CHECKING:
    from cenote.controller.name_server import NameServer

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
REMOVED_SECONDS = 3600.0  # between two looks, beside those at each change
HOST_SECONDS = 10.0  # for the first record of this host, which its agent writes meanwhile


def run(installation: Installation, channel: Channel, listener: socket.socket) -> None:
    """Serve until SIGTERM; the supervisor has sent the certificate by now."""
    parent = os.getppid()
    shown, layout = _first_certificate(channel), installation.layout
    # The account may have put a link into its own folder: that leads no further than the account may go.
    with privileges.acting_as(installation.api):
        rings = Rings(Sealer(layout.api_sealing_key), Sealer(layout.api_host_keys))
    api = _build(installation, shown, rings, _join_authority(installation))
    oom.raise_above("self", oom.API_ABOVE)
    privileges.become(installation.api)
    privileges.end_with(parent)
    event_loop.run(_serve(api, channel, listener), on_term=api.end)


class _Shown:
    """The certificate that clients are shown; OSError for one that is unusable, or has another key."""

    def __init__(self, given: Certificate) -> None:
        self.context = tls_context.server_context(given.certificate, given.key)
        self.validity = _validity(given)

    def replace(self, given: Certificate) -> None:
        """Show another one to all clients that connect from here on."""
        tls_context.replace(self.context, given.certificate, given.key)
        self.validity = _validity(given)


@dataclass(frozen=True, slots=True)
class _Api:
    client: EtcdClient
    store: Store
    observer: RoutedObserver
    metrics_endpoint: MetricsEndpoint
    controller: Controller
    keys: KeyReceiver | None
    store_members: StoreMembers | None  # None where the store's members are not this process's to decide
    failover_logins: FailoverLogins | None
    server: http_server.Server
    shown: _Shown
    host_id: str
    join_endpoint: JoinEndpoint | None

    def end(self) -> None:
        self.server.should_exit = True


def _join_authority(installation: Installation) -> tuple[str, str]:
    """Return certificate and key of the API's CA, which hosts that join share; empty if they do not."""
    layout = installation.layout
    if installation.settings.address is None or installation.settings.certificate is not None:
        return "", ""
    return layout.authority.read_text(), layout.authority_key.read_text()


def _join_endpoint(
    installation: Installation, store: Store, rings: Rings, authority: tuple[str, str], state: ServerState
) -> JoinEndpoint | None:
    """Return the port for hosts that join, if other hosts can reach this one."""
    settings, known = installation.settings, stores.identity_of(installation)
    place = settings.join_place
    if place is None or known.store is None:
        return None
    admission = HostAdmission(store, known.store, rings, store_door.of(installation), authority)
    return JoinEndpoint(store, rings.api, admission, known.host_id, place, settings.listen, state)


def _build(installation: Installation, shown: _Shown, rings: Rings, authority: tuple[str, str]) -> _Api:
    settings, layout, sealer = installation.settings, installation.layout, rings.api
    client = stores.api_client(installation)
    store = Store(client, settings.etcd.prefix, ephemeral=settings.ephemeral)
    known = stores.identity_of(installation)
    host_id = known.host_id
    if settings.address is not None:
        child.name_host("api", known.name)
    observer = RoutedObserver(
        store,
        host_id,
        RemoteObserver(
            layout.agent_socket, lambda: "" if (host := store.host(host_id)) is None else host.name
        ),
        FleetClient(store, sealer, host_id, settings.address).context,
    )
    per_hour, per_minute = settings.rate_limits
    app = create_app(
        store,
        rings,
        Settings(
            public_host=settings.reached_as,
            domain=settings.domain,
            requests_per_hour=per_hour,
            requests_per_minute=per_minute,
            log_sink_allow=settings.log_sink_allow,
            host_id=host_id,
            memory_overcommit=settings.memory_overcommit,
            storage_overcommit=settings.storage_overcommit,
            distinct_hosts=settings.distinct_hosts,
            undelete_days=0 if settings.ephemeral else settings.undelete_days,
            fleet_place=settings.join_place,
        ),
        observer,
        installation.timing,
        lambda: shown.validity,
        observer,
        observer,
        observer,
    )
    app = with_console(app, lambda: sealer.derived("console"), only_tls=settings.certificate is not None)
    admission = Admission(settings.connections or most_by_descriptors(), settings.connections_per_address)
    server = http_server.server(app, shown.context, observer.end_streams, admission)
    metrics_endpoint = MetricsEndpoint(store, sealer, observer, host_id, settings.listen, server.server_state)
    failover_logins = _failover_logins(installation, rings)
    overcommit = Overcommit(memory=settings.memory_overcommit, storage=settings.storage_overcommit)
    directory = identity.directory_of(layout)
    controller = Controller(
        store,
        sealer,
        host_id,
        directory,
        installation.timing,
        overcommit,
        _domain(installation),
        _name_server(installation),
        rings.host,
        failover_logins,
        distinct_hosts=settings.distinct_hosts,
    )
    return _Api(
        client,
        store,
        observer,
        metrics_endpoint,
        controller,
        KeyReceiver(store, rings, host_id) if settings.address is not None else None,
        _store_members(installation, host_id),
        failover_logins,
        server,
        shown,
        host_id,
        _join_endpoint(installation, store, rings, authority, server.server_state),
    )


def _domain(installation: Installation) -> HostDomain | None:
    settings = installation.settings
    if settings.domain is None:
        return None
    return HostDomain(domain=settings.domain, server="" if settings.dns is None else settings.dns.server)


def _name_server(installation: Installation) -> NameServer | None:
    """Read the key for the operator's name server, as long as this process may."""
    settings = installation.settings.dns
    if settings is None:
        return None
    from cenote.controller.name_server import NameServer

    host, port = settings.address
    store = stores.identity_of(installation).store
    return NameServer(host, port, settings.zone, settings.key(), str(store))


def _store_members(installation: Installation, host_id: str) -> StoreMembers | None:
    """Return what decides which hosts are members of the store; alone there is nothing to decide."""
    settings = installation.settings
    if stores.is_external(installation) or settings.address is None:
        return None
    directory = identity.directory_of(installation.layout)
    return StoreMembers(stores.root_client(installation), settings.etcd.prefix, host_id, directory)


def _failover_logins(installation: Installation, rings: Rings) -> FailoverLogins | None:
    """Return what lets Patroni into the store; an operator's store has users of the operator's alone."""
    if stores.is_external(installation):
        return None
    keys = Keys(installation.settings.etcd.prefix)
    return FailoverLogins(stores.root_client(installation), keys, rings.host)


async def _serve(api: _Api, channel: Channel, listener: socket.socket) -> None:
    opening = asyncio.create_task(stores.open_when_there(api.store), name="opening the store")
    try:
        while not opening.done() and not api.server.should_exit:
            await asyncio.wait([opening], timeout=0.1)
        if api.server.should_exit:
            opening.cancel()
            return
        await opening
        await _wait_for_records(api)
        await _serve_open(api, channel, listener)
    finally:
        await api.observer.close()
        await api.store.close()
        await api.client.close()
        if api.store_members is not None:
            await api.store_members.close()
        if api.failover_logins is not None:
            await api.failover_logins.close()


async def _serve_open(api: _Api, channel: Channel, listener: socket.socket) -> None:
    channel.socket.setblocking(False)
    asyncio.get_running_loop().add_reader(channel.socket, _take_certificate, api, channel)
    try:
        async with asyncio.TaskGroup() as group:
            working = [
                group.create_task(api.metrics_endpoint.run(), name="metrics"),
                group.create_task(api.controller.run(), name="controller"),
            ]
            announcing = group.create_task(_announce(api, channel), name="announcing")
            if api.keys is not None:
                working.append(group.create_task(api.keys.run(), name="keys"))
            if api.join_endpoint is not None:
                working.append(group.create_task(api.join_endpoint.run(), name="joining"))
            if api.store_members is not None:
                working.append(group.create_task(api.store_members.run(), name="members of the store"))
            leaving = group.create_task(_end_work_when_removed(api, working), name="removal of this host")
            await api.server.serve(sockets=[listener])
            for task in (*working, announcing, leaving):
                task.cancel()
    except BaseExceptionGroup as group_of_one:
        raise group_of_one.exceptions[0] from None


async def _end_work_when_removed(api: _Api, working: list[asyncio.Task[None]]) -> None:
    """End all work for the fleet once this host was removed from it; requests are refused then, too."""
    while await api.store.wait(lambda: api.store.removed_host(api.host_id), REMOVED_SECONDS) is None:
        pass
    log.error("this host was removed from the service; its API refuses all requests")
    api.observer.end_streams()
    for task in working:
        task.cancel()


async def _wait_for_records(api: _Api) -> None:
    """Wait until the first answers are right; calls wait as well meanwhile.

    Without the watch they would call the service degraded.  Without this host's record, which at the first
    start with a store is yet to be written, clusters would have no full version.
    """
    store, server = api.store, api.server
    await _wait(lambda: store.connected, WATCH_SECONDS)
    await _wait(lambda: store.host(api.host_id) is not None or server.should_exit, HOST_SECONDS)


async def _wait(condition: Callable[[], bool], seconds: float | None) -> None:
    """Wait until the condition holds, or so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)


async def _announce(api: _Api, channel: Channel) -> None:
    """Tell the supervisor once the API answers and knows that clusters can be placed on this host."""
    await _wait(lambda: api.server.started and api.host_id in api.store.presences(), None)
    channel.send(Ready())


def _first_certificate(channel: Channel) -> _Shown:
    message = channel.receive()
    if not isinstance(message, Certificate):
        raise Misconfigured("the supervisor has handed over no certificate")
    try:
        shown = _Shown(message)
    except OSError as error:
        raise Misconfigured(f"the certificate of the API cannot be used: {error}") from None
    channel.send(Used())
    return shown


def _take_certificate(api: _Api, channel: Channel) -> None:
    """Take what the supervisor hands over."""
    try:
        message = channel.receive()
    except BlockingIOError:
        return
    if message is None:  # the supervisor has ended; so does this process
        asyncio.get_running_loop().remove_reader(channel.socket)
        api.end()
    elif isinstance(message, Certificate):
        try:
            api.shown.replace(message)
        except OSError as error:
            channel.send(Used(f"{error}"))
        else:
            channel.send(Used())


def _validity(given: Certificate) -> Validity | None:
    try:
        return certificates.chain_validity(given.certificate)
    except ValueError:
        return None
