"""PostgreSQL of a node: its data directory, its configuration, its process.

The data directory is a copy of a template, made once and never again: whatever happens to it later, no plan
replaces or removes it while the cluster is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import hba, postgresql
from cenote.conf.hba import SUPERUSER
from cenote.engine import loaded
from cenote.engine.context import NodeContext
from cenote.engine.loaded import Loaded
from cenote.host import files, processes, system
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model import firewall, parameters
from cenote.model.changes import CopyTemplate, EndProcesses, Plan, Reload, Remove, Start, Wait
from cenote.rules import configuration, sizing, storage
from cenote.rules.storage import Use

_READY = b"ready"
_REFUSAL = b"default_transaction_read_only = 'on'"
_MEASURE_EVERY, _MEASURE_OFTEN = 15.0, 1.5  # seconds, the latter when the storage is nearly full
_EXECUTABLE = "postgres"


@dataclass(frozen=True, slots=True)
class Seen:
    """``state`` is the server's own word for its condition, the last line of its pid file.

    The rest matters while it does not run.  ``orphans``: children of a server that was killed are still at
    work on its data.  ``strangers``: lock files whose pid has gone to somebody else.  ``port_taken``:
    somebody else listens on its port.
    """

    has_data: bool
    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    state: bytes
    orphans: bool = False
    strangers: tuple[Path, ...] = ()
    port_taken: bool = False
    use: Use | None = None


async def look(machine: Machine, wanted: NodeContext, _session: Session) -> Seen:
    paths = wanted.paths
    found = loaded.look(wanted.server)
    is_down, locks = found.process is None, (wanted.server.pid_file, *paths.sockets.glob(".s.PGSQL.*.lock"))
    return Seen(
        has_data=files.mode_of(paths.data) is not None,
        files=loaded.look_at_files(tuple(_configuration(wanted))),
        certificate=files.read(paths.certificate),
        loaded=found,
        state=_state(wanted.server.pid_file, found),
        orphans=is_down and bool(processes.below(paths.data, _EXECUTABLE)),
        strangers=processes.naming_strangers(locks) if is_down else (),
        port_taken=is_down and not system.can_listen(wanted.site.listen, wanted.node.port),
        use=await disk_use(machine, wanted),
    )


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    if not seen.has_data:
        yield CopyTemplate(wanted.cluster.version, wanted.paths.data)
    contents = _configuration(wanted, read_only=_refuses_writes(wanted, seen))
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(wanted.server, contents, seen.files, seen.loaded, digest)
    if seen.loaded.process is None:
        # A busy orphan does not notice that its server is gone, and no other server starts until it ends.
        if seen.orphans:
            yield EndProcesses(wanted.paths.data, _EXECUTABLE)
        for lock in seen.strangers:
            yield Remove(lock)
        if seen.port_taken:
            yield Wait(f"another program listens on port {wanted.node.port}, which is this cluster's")
        yield Start(wanted.server, digest)
        yield Wait("PostgreSQL is starting")
    elif seen.state != _READY:
        yield Wait(f"PostgreSQL is {seen.state.decode(errors='replace') or 'starting'}")
    elif not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(wanted.server, digest)


async def disk_use(machine: Machine, wanted: NodeContext) -> Use | None:
    """Return how full the storage is, None before there is any data; the fuller, the newer the numbers."""
    if not wanted.paths.data.exists():
        return None
    use = await machine.disk_use(wanted.paths.data, _MEASURE_EVERY)
    if storage.is_near(use, wanted.cluster.storage_mib):
        use = await machine.disk_use(wanted.paths.data, _MEASURE_OFTEN)
    return use


def refuses_writes(content: bytes | None) -> bool:
    """Return whether a configuration has the server refuse writes."""
    return _REFUSAL in (content or b"")


def _refuses_writes(wanted: NodeContext, seen: Seen) -> bool:
    refused = refuses_writes(seen.files.get(configuration_file(wanted)))
    if seen.use is None:
        return refused
    return storage.refuses_writes(seen.use, wanted.cluster.storage_mib, refused=refused)


def configuration_file(wanted: NodeContext) -> Path:
    return wanted.paths.data / "postgresql.conf"


async def settings_in_force(session: Session) -> dict[str, str]:
    """Return what the server runs on: of each setting that the API has, its value and, if any, its unit."""
    names = ", ".join(f"'{parameter.server_name}'" for parameter in parameters.POSTGRESQL.values())
    question = "SELECT lower(name), concat_ws(' ', reset_val, unit) FROM pg_settings WHERE lower(name) IN"
    return dict(await session.rows(SUPERUSER, f"{question} ({names})"))


def _state(pid_file: Path, found: Loaded) -> bytes:
    """Return the last line of the pid file, unless a server that was killed has left it behind."""
    lines = (files.read(pid_file) or b"").splitlines()
    ours = found.process is not None and lines[:1] == [str(found.process.pid).encode()]
    return lines[7].strip() if ours and len(lines) > 7 else b""


def _configuration(wanted: NodeContext, *, read_only: bool = False) -> dict[Path, bytes]:
    site, cluster, node, paths = wanted.site, wanted.cluster, wanted.node, wanted.paths
    memory_mib = configuration.memory_mib(cluster, site.memory_mib)
    settings = postgresql.render(
        postgresql.fixed(cluster.version),
        postgresql.ephemeral() if site.ephemeral else {},
        postgresql.loaded(site.libraries.get(cluster.version, ())),
        sizing.settings(memory_mib, wanted.size.vcpus, configuration.connections(cluster)),
        postgresql.chosen(
            cluster.configuration.postgresql,
            shared_buffers_mib=configuration.shared_buffers_mib(cluster, site.memory_mib),
        ),
        postgresql.placed(
            name=cluster.name,
            port=node.port,
            listen=site.listen,
            socket_directory=paths.sockets,
            certificate=paths.certificate,
        ),
        {"default_transaction_read_only": "on"} if read_only else {},
    )
    ident = hba.render_ident(site.service_user, site.server_user, (user.name for user in cluster.users))
    return {
        configuration_file(wanted): settings.encode(),
        paths.data / "pg_hba.conf": hba.render(firewall.networks(cluster.firewall)).encode(),
        paths.data / "pg_ident.conf": ident.encode(),
    }
