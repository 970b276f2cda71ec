"""The agent's process: the servers of this host, their logs, the private etcd, the API's own certificate.

It shares nothing with the API but the store, and answers its questions on a unix socket.  It listens on no
port, except for the APIs of other hosts of its fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pwd
from ipaddress import ip_address

import cenote
from cenote.agent.archived import ArchiveReader
from cenote.agent.backup_runner import BackupRunner
from cenote.agent.fleet_endpoint import FleetEndpoint, Shown
from cenote.agent.host_certificate import HostCertificate
from cenote.agent.host_loop import HostLoop
from cenote.agent.host_ring import HostRing
from cenote.agent.log_shipping import LogShipping
from cenote.agent.migration_checks import MigrationChecks
from cenote.agent.migration_runner import MigrationRunner
from cenote.agent.observer_endpoint import Answering, ObserverEndpoint
from cenote.agent.port_holding import PortHolding
from cenote.agent.repository_sweep import RepositorySweep
from cenote.agent.store_keeper import StoreKeeper
from cenote.agent.upgrade_questions import UpgradeQuestions
from cenote.engine.plan.context import HostContext
from cenote.errors import Misconfigured
from cenote.host import extensions, files, identity, processes, system
from cenote.host.executor import Executor
from cenote.host.identity import Identity
from cenote.host.observer import HostObserver
from cenote.host.outbound import OutboundPolicy
from cenote.host.programs import Programs
from cenote.model import parameters
from cenote.model.fleet_ports import FleetPorts
from cenote.model.fleet_records import Host
from cenote.security.sealing import Sealer
from cenote.server import backup_repository, bootstrap, child, event_loop, failover, stores
from cenote.server.child import Channel, Ready
from cenote.server.installation import Installation
from cenote.server.service_copies import ServiceCopies
from cenote.server.service_repository import ServiceRepository
from cenote.store import HostStore
from cenote.store.encoding import FORMAT

log = logging.getLogger(__name__)


def run(installation: Installation, channel: Channel, *, first: bool) -> None:
    """Work until SIGTERM.

    ``first``: at the start of the service, where what does not come about is an error; later it is waited
    for.
    """
    # Orphans of killed servers are reaped here, or a restart would wait for PID 1.
    processes.become_subreaper()
    event_loop.run(_work(installation, channel, first=first))


async def _work(installation: Installation, channel: Channel, *, first: bool) -> None:
    settings, timing = installation.settings, installation.timing
    ring = HostRing(Sealer(installation.layout.host_keys))
    known = stores.identity_of(installation)
    if settings.address is not None:
        child.name_host("agent", known.name)
    async with contextlib.AsyncExitStack() as stack:
        client = stores.agent_client(installation)
        stack.push_async_callback(client.close)
        if not stores.is_external(installation):
            keeper = StoreKeeper(
                client,
                settings.etcd.prefix,
                known.host_id,
                stores.private_etcd(installation),
                installation.layout.members,
                functools.partial(stores.client_at, installation.layout),
            )
            keeping = asyncio.create_task(keeper.run(), name="etcd of this host")
            stack.push_async_callback(_cancel, keeping)
        store = HostStore(
            client,
            known.host_id,
            identity.directory_of(installation.layout),
            settings.etcd.prefix,
            keeps_backups=settings.backups.repository is not None,
        )
        await stores.open_when_there(store, may_end=first and not stores.is_external(installation))
        stack.push_async_callback(store.close)
        executor, host_context = _executor(installation, store, ring)
        policy = OutboundPolicy(settings.log_sink_allow, timing)
        log_shipping = LogShipping(store, executor, ring.sealer, policy, timing, known.name)
        host = _host(installation, known)
        repository = backup_repository.RepositoryCheck(installation, lambda: store.repository_id(host))
        copies = ServiceCopies(
            installation.layout,
            settings.service_copies,
            known,
            settings.etcd.prefix,
            timing,
            store.cluster_records,
            _service_repository(installation),
        )
        agent = HostLoop(
            store,
            executor,
            host_context,
            host,
            log_shipping,
            ring=ring,
            store_id=known.store,
            service_copy=lambda: copies.state,
            repository_problem=lambda: repository.problem,
            repository_id=lambda: repository.identity,
        )
        observer = HostObserver(
            installation.layout,
            store,
            host.id,
            agent.passes,
            log_shipping.numbers,
            timing,
            agent.look_again,
            UpgradeQuestions(executor, host_context).problems,
            MigrationChecks(host_context, ring.sealer).check,
        )
        ports = PortHolding(store, settings.listen)
        archives = ArchiveReader(store, host_context, backup_repository.program_of(installation))
        answering = Answering(observer, ring, ports, known.name, archives)
        endpoint = ObserverEndpoint(answering, installation.layout.agent_socket, installation.api.gid)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.run(), name="agent")
                group.create_task(observer.sampler.run(), name="sampling")
                group.create_task(ports.run(), name="ports")
                group.create_task(endpoint.run(), name="observer")
                migrations = MigrationRunner(store, host_context, executor, ring.sealer, agent.look_again)
                group.create_task(migrations.run(), name="online migrations")
                if host_context.backups is not None:
                    group.create_task(repository.run(), name="repository for backups")
                    program = backup_repository.program_of(installation)
                    runner = BackupRunner(store, host_context, program, executor)
                    group.create_task(runner.run(), name="backups")
                    if program is not None:
                        sweep = RepositorySweep(
                            store, host_context, program, known.store, repository.is_configured
                        )
                        group.create_task(sweep.run(), name="sweep of the repository")
                if settings.address is not None:
                    for_others = _fleet_endpoint(installation, answering, store)
                    group.create_task(for_others.run(), name="observer for other hosts")
                group.create_task(_renew(installation), name="renewing")
                group.create_task(copies.run(agent.judged), name="backups of the service")
                if settings.address is not None:
                    certificate = HostCertificate(store, installation.layout, timing)
                    group.create_task(certificate.run(), name="certificate of the fleet")
                group.create_task(_announce(agent, channel, first=first), name="announcing")
        except BaseExceptionGroup as group_of_one:
            raise group_of_one.exceptions[0] from None


def _service_repository(installation: Installation) -> ServiceRepository | None:
    settings = installation.settings.backups
    if settings.repository is None or settings.is_default:  # what is lost with the host is of no use
        return None
    work = installation.layout.repository_check.parent
    return ServiceRepository(settings, installation.programs, installation.servers, work)


def _fleet_endpoint(installation: Installation, answering: Answering, store: HostStore) -> FleetEndpoint:
    settings, layout = installation.settings, installation.layout
    addresses: tuple[str, ...] = settings.listen
    with contextlib.suppress(ValueError):  # a name stands for one of these
        addresses = (str(ip_address(settings.address or "")),)

    def shown() -> Shown | None:
        found = [
            files.read(path) for path in (layout.fleet_certificate, layout.fleet_key, layout.fleet_authority)
        ]
        certificate, key, authority = found
        return Shown(certificate, key, authority.decode()) if certificate and key and authority else None

    port = FleetPorts.of(settings.fleet_port).agent
    return FleetEndpoint(answering, addresses, port, shown, store.removed_hosts)


async def _announce(agent: HostLoop, channel: Channel, *, first: bool) -> None:
    """Tell the supervisor once clusters can be placed here, however busy the machine is.

    The host's record of a former process does not count.
    """
    while True:
        await agent.judged.wait()
        if agent.refusal is None:
            channel.send(Ready())
            return
        if first:
            raise agent.refusal
        agent.judged.clear()


async def _renew(installation: Installation) -> None:
    """Renew the certificate that Cenote issues for its API; the supervisor sees that the file has changed.

    The interval is short, since the clock may be set, and it does not go on while the machine sleeps.
    """
    if installation.settings.certificate is not None or not installation.serves_api:
        return
    told = ""
    while True:
        try:
            bootstrap.renew_certificate(installation.layout, installation.settings)
            problem = bootstrap.authority_problem(installation.layout)
        except (Misconfigured, OSError, ValueError) as error:
            problem = f"the API keeps its current certificate: {error}"
        if problem not in ("", told):
            log.error("%s", problem)
        told = problem
        await asyncio.sleep(installation.timing.certificate_interval)


def _executor(installation: Installation, store: HostStore, ring: HostRing) -> tuple[Executor, HostContext]:
    settings, layout, found = installation.settings, installation.layout, installation.programs
    assert found.pgbouncer is not None
    binaries = {major: install.bin for major, install in found.postgres.items()}
    host_context = HostContext(
        layout=layout,
        listen=settings.listen,
        service_user=pwd.getpwuid(os.geteuid()).pw_name,
        server_user=installation.servers.name,
        binaries=binaries,
        pgbouncer=found.pgbouncer.path,
        memory_mib=system.memory_mib(),
        libraries=_libraries(found),
        ephemeral=settings.ephemeral,
        trash_days=settings.trash_days,
        descriptors=processes.descriptor_limit(),
        timing=installation.timing,
        server_ids=installation.servers.owner,
        copy_rate_mib=settings.copy_rate_mib,
        backups=backup_repository.of_host(installation, ring.sealer),
        failover=failover.of_host(installation, ring.sealer),
    )
    executor = Executor(
        layout, installation.servers, binaries, store.request_certificate, publish=store.publish
    )
    return executor, host_context


def _host(installation: Installation, known: Identity) -> Host:
    settings, found = installation.settings, installation.programs
    return Host(
        id=known.host_id,
        name=known.name,
        address=settings.reached_as,
        memory_mib=system.memory_mib(),
        cpus=system.cpus(),
        disk_mib=system.disk_mib(installation.layout.data_dir),
        versions={major: install.version for major, install in found.postgres.items()},
        first_port=settings.first_port,
        last_port=settings.last_port,
        libraries=_libraries(found),
        extensions={major: extensions.offered(install.bin) for major, install in found.postgres.items()},
        cenote_version=cenote.__version__,
        reads=FORMAT,
        roles=known.roles,
        zone=settings.zone,
        fleet_address=settings.address or "",
        fleet_port=settings.fleet_port if settings.address else 0,
        repository=repository.in_words if (repository := settings.backups.repository) is not None else "",
        backup_days=settings.backups.days if repository is not None else 0,
        default_repository=settings.backups.is_default,
        repository_warning=backup_repository.warning(installation),
        drill_days=settings.backups.drill_days if repository is not None else 0,
        patroni=failover.version(installation),
    )


def _libraries(found: Programs) -> dict[str, tuple[str, ...]]:
    return {
        major: parameters.libraries(system.libraries(install.bin))
        for major, install in found.postgres.items()
    }


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
