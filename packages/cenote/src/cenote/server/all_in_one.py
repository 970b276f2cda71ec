"""``cenote serve``: the store, the agent and the API in one process, for a single machine.

PostgreSQL, PgBouncer and etcd keep running when this process ends, and the next one adopts them.  Only
``--ephemeral`` and ``cenote stop`` stop them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cenote.agent.host_loop import HostLoop
from cenote.agent.log_shipping import LogShipping
from cenote.agent.observer_endpoint import ObserverEndpoint
from cenote.api.app import create_app
from cenote.api.service import Settings
from cenote.console import with_console
from cenote.engine.plan.context import HostContext
from cenote.errors import Misconfigured, Unavailable
from cenote.front.metrics_endpoint import MetricsEndpoint
from cenote.host import extensions, processes, programs, system
from cenote.host.executor import Executor
from cenote.host.observer import HostObserver
from cenote.host.outbound import OutboundPolicy
from cenote.host.processes import Account
from cenote.host.programs import Programs
from cenote.host.shutdown import stop_servers
from cenote.http import server as http_server
from cenote.model import parameters
from cenote.model.paths import Layout
from cenote.model.records import Host
from cenote.model.timing import DEFAULT, Timing
from cenote.security.sealing import Sealer
from cenote.server import bootstrap
from cenote.server.settings import ServeSettings
from cenote.stats.remote_observer import RemoteObserver
from cenote.store import Store
from cenote.store.client import EtcdClient
from cenote.store.process import PrivateEtcd

log = logging.getLogger(__name__)

HOST_SECONDS = 10.0  # timeout for this host's record to appear in the store


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service."""

    url: str
    layout: Layout


Ready = Callable[[Serving], Awaitable[None]]


async def serve(settings: ServeSettings, ready: Ready, timing: Timing = DEFAULT) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called once the API answers.

    Raises Misconfigured with a remedy before anything is started, and CancelledError if a signal arrives
    before the API answers.
    """
    settings.check()
    with http_server.handle_signals() as on_stop, _data_dir(settings) as settings:
        layout = Layout(settings.data_dir)
        layout.check()
        found = find_programs(settings)
        account = server_account(settings)
        lock_descriptor = bootstrap.lock(layout)
        try:
            with contextlib.closing(http_server.listen(settings.host, settings.port)) as listener:
                context = bootstrap.make_tls_context(layout, settings)
                processes.become_subreaper()
                processes.raise_descriptor_limit()
                try:
                    async with _store(settings, layout, found) as store:
                        await _run(
                            settings, layout, found, account, store, listener, context, ready, on_stop, timing
                        )
                finally:
                    if settings.ephemeral:
                        # Wait for a template in progress, or it would write into the removed directory.
                        await asyncio.get_running_loop().shutdown_default_executor()
                        await stop_servers(layout)
        finally:
            os.close(lock_descriptor)


def find_programs(settings: ServeSettings) -> Programs:
    """Return the programs to run; Misconfigured with all that is missing, and the remedies."""
    found = programs.find(
        postgres_dirs=settings.postgres_dirs, pgbouncer=settings.pgbouncer, data_dir=settings.data_dir
    )
    problems = programs.problems(found, needs_etcd=not settings.etcd.endpoints)
    if problems:
        raise Misconfigured("\n".join(f"{problem.what}; fix: {problem.command}" for problem in problems))
    return found


def server_account(settings: ServeSettings) -> Account:
    """Return the account for the servers: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        if settings.account is not None:
            raise Misconfigured("--account needs root; without root the servers run as you")
        return Account(pwd.getpwuid(os.geteuid()).pw_name)
    name = settings.account or "postgres"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Misconfigured(
            f"there is no system user {name!r} to run the servers as; make one with "
            f"'useradd --system {name}', or name another with --account"
        ) from None
    if entry.pw_uid == 0:
        raise Misconfigured("--account must name an unprivileged user: PostgreSQL refuses to run as root")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


@contextlib.contextmanager
def _data_dir(settings: ServeSettings) -> Iterator[ServeSettings]:
    """Create a directory for an ephemeral service, and remove it at the end."""
    if not settings.ephemeral:
        yield settings
        return
    folder = Path(tempfile.mkdtemp(prefix="cenote-"))
    os.chmod(folder, 0o711)  # noqa: S103 - the servers' account needs to traverse it
    try:
        yield replace(settings, data_dir=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def _store(settings: ServeSettings, layout: Layout, found: Programs) -> AsyncIterator[Store]:
    external = settings.etcd
    async with contextlib.AsyncExitStack() as stack:
        if external.endpoints:
            client = EtcdClient(
                urls=external.endpoints,
                ca=external.ca,
                certificate=external.certificate,
                key=external.key,
                username=external.user,
                password=external.password,
            )
        else:
            assert found.etcd is not None
            etcd = PrivateEtcd(layout.etcd, found.etcd.path)
            await etcd.start()
            watching = asyncio.create_task(etcd.watch(), name="watching etcd")
            stack.push_async_callback(_cancel, watching)
            client = EtcdClient(socket=etcd.socket)
        stack.push_async_callback(client.close)
        store = Store(client, external.prefix)
        try:
            await store.open()
        except Unavailable as error:
            if not external.endpoints:
                raise
            raise Misconfigured(f"{error.message} (--etcd {', '.join(external.endpoints)})") from None
        stack.push_async_callback(store.close)
        yield store


async def _run(
    settings: ServeSettings,
    layout: Layout,
    found: Programs,
    account: Account,
    store: Store,
    listener: socket.socket,
    context: ssl.SSLContext,
    ready: Ready,
    on_stop: http_server.ShutdownHandler,
    timing: Timing,
) -> None:
    sealer = Sealer(layout.sealing_key)
    await bootstrap.ensure_admin_token(store, layout)
    host = _host(settings, found)
    executor, host_context = _executor(settings, layout, found, account, sealer, timing)
    log_shipping = LogShipping(
        store, executor, sealer, OutboundPolicy(settings.log_sink_allow, timing), timing
    )
    agent = HostLoop(store, executor, host_context, host, log_shipping)
    host_observer = HostObserver(layout, store, host.name, agent.passes, log_shipping.numbers, timing)
    observer_endpoint = ObserverEndpoint(host_observer, layout.agent_socket)
    certificate = settings.certificate or layout.api_certificate
    observer = RemoteObserver(layout.agent_socket)
    app = create_app(
        store,
        sealer,
        Settings(
            public_host=settings.reached_as,
            domain=settings.domain,
            requests_per_hour=settings.requests_per_hour,
            requests_per_minute=settings.requests_per_minute,
            log_sink_allow=settings.log_sink_allow,
        ),
        observer,
        timing,
        lambda: bootstrap.expires_at(certificate),
    )
    app = with_console(app, lambda: sealer.derived("console"), only_tls=settings.certificate is not None)
    server = http_server.server(app, context, certificate, settings.key, on_shutdown=observer.end_streams)
    metrics_endpoint = MetricsEndpoint(
        store, sealer, observer, layout, host.name, settings.listen, server.server_state
    )
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(agent.run(), name="agent")
            sampling = group.create_task(host_observer.sampler.run(), name="sampling")
            observing = group.create_task(observer_endpoint.run(), name="observer")
            serving_metrics = group.create_task(metrics_endpoint.run(), name="metrics")
            renewing = group.create_task(_renew(layout, settings, context, timing), name="renewing")
            announcing = group.create_task(
                _announce(settings, layout, listener, agent.announced, server, ready), name="announcing"
            )
            on_stop.serves(server)
            await server.serve(sockets=[listener])
            for task in (announcing, renewing, serving_metrics, observing, sampling, working):
                task.cancel()
    except BaseExceptionGroup as group_of_one:
        raise group_of_one.exceptions[0] from None
    finally:
        await observer.close()


def _executor(
    settings: ServeSettings,
    layout: Layout,
    found: Programs,
    account: Account,
    sealer: Sealer,
    timing: Timing,
) -> tuple[Executor, HostContext]:
    assert found.pgbouncer is not None
    binaries = {major: install.bin for major, install in found.postgres.items()}
    host_context = HostContext(
        layout=layout,
        listen=settings.listen,
        service_user=pwd.getpwuid(os.geteuid()).pw_name,
        server_user=account.name,
        binaries=binaries,
        pgbouncer=found.pgbouncer.path,
        memory_mib=system.memory_mib(),
        libraries=_libraries(found),
        ephemeral=settings.ephemeral,
        timing=timing,
    )
    return Executor(layout, account, binaries, sealer), host_context


def _host(settings: ServeSettings, found: Programs) -> Host:
    return Host(
        name=socket.gethostname(),
        address=settings.reached_as,
        memory_mib=system.memory_mib(),
        cpus=system.cpus(),
        versions={major: install.version for major, install in found.postgres.items()},
        first_port=settings.first_port,
        last_port=settings.last_port,
        libraries=_libraries(found),
        extensions={major: extensions.offered(install.bin) for major, install in found.postgres.items()},
    )


def _libraries(found: Programs) -> dict[str, tuple[str, ...]]:
    return {
        major: parameters.libraries(system.libraries(install.bin))
        for major, install in found.postgres.items()
    }


async def _announce(
    settings: ServeSettings,
    layout: Layout,
    listener: socket.socket,
    announced: asyncio.Event,
    server: http_server.Server,
    ready: Ready,
) -> None:
    """Wait until the API answers and clusters can be placed, then call ``ready``.

    The host's record of a former process does not count, which stays until its lease expires.
    """
    url = http_server.url(settings.reached_as, listener)  # first: a service that ends closes the listener
    try:
        async with asyncio.timeout(HOST_SECONDS):
            await announced.wait()
    except TimeoutError:
        raise Unavailable("this host's record does not appear in the store") from None
    while not server.started:
        await asyncio.sleep(0.005)
    layout.address.write_text(url + "\n")
    await ready(Serving(url, layout))


async def _renew(layout: Layout, settings: ServeSettings, context: ssl.SSLContext, timing: Timing) -> None:
    while True:
        await asyncio.sleep(timing.certificate_renewal_interval)
        try:
            bootstrap.renew_certificate(layout, settings, context)
        except (Misconfigured, OSError) as error:
            log.error("the API keeps its current certificate: %s", error)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
