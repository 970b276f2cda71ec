"""PostgreSQL of a node: its data directory, its configuration, its process.

The data directory is copied from a template once.  Whatever happens to it later, no plan replaces or removes
it before the cluster is deleted; and should it be missing, an empty one in its place would look as if all was
well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import conninfo, hba, pgbackrest, postgresql
from cenote.conf.quoting import postgresql_value
from cenote.engine.plan import loaded
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.loaded import Loaded
from cenote.model.changes import CopyTemplate, EndProcesses, Plan, Refuse, Reload, Remove, Start, Wait
from cenote.model.migrations import ROLE
from cenote.model.paths import FIRST_NODE
from cenote.model.status_records import DiskUse
from cenote.rules import (
    configuration,
    online_migrations,
    refused_settings,
    replicas,
    restarts,
    sizing,
    sql_changes,
    storage,
)
from cenote.security import fleet_certificates

READY = b"ready"
_REFUSAL = b"default_transaction_read_only = 'on'"
EXECUTABLE = "postgres"
# A server that is shut down waits for the one that follows it, be that gone; this is for how long.
_SENDER = {"options": "-c wal_sender_timeout=8s"}
# A sender that is put out writes that to the other server first.  While that one is frozen, each checkpoint
# would wait for it.
_SENDER_OF_REPLICA = {"options": "-c wal_sender_timeout=8s -c tcp_user_timeout=15s"}


@dataclass(frozen=True, slots=True)
class Seen:
    """``state`` is the status that the server writes into its pid file, such as ``ready`` or ``starting``.

    The rest matters while it is down.  ``orphans``: children of a killed server still work on its data.
    ``stale_pid_files``: lock files that name nobody, or a pid that was reused.  ``port_taken``: another
    program has its port.  ``least``: values of settings that a server that follows another one needs.
    """

    has_data: bool
    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    state: bytes
    orphans: bool = False
    stale_pid_files: tuple[Path, ...] = ()
    port_taken: bool = False
    use: DiskUse | None = None
    least: Mapping[str, int] = field(default_factory=dict)


def plan(context: NodeContext, seen: Seen) -> Plan:
    if not seen.has_data and context.was_online:
        yield Refuse(_missing(context))
        return
    if not seen.has_data and (context.node.name != FIRST_NODE or context.cluster.move is not None):
        # Only a cluster's first node is made of a template; an empty one in place of another's copy would
        # look as if all was well.
        yield Refuse(f"its data directory is missing: {context.paths.data}")
        return
    if not seen.has_data:
        yield CopyTemplate(context.cluster.version, context.paths.data)
    found = seen.files.get(configuration_file(context))
    contents = configuration_files(
        context,
        read_only=_refuses_writes(context, seen),
        former=seen.loaded.process is not None and is_former(context, found),
        least=seen.least,
    )
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(context.server, contents, seen.files, seen.loaded, digest)
    if seen.loaded.process is None:
        # A busy orphan does not notice that its postmaster is gone, and no server starts until it ends.
        if seen.orphans:
            yield EndProcesses(context.paths.data, EXECUTABLE)
        for lock in seen.stale_pid_files:
            yield Remove(lock)
        if seen.port_taken:
            yield Wait(f"another program listens on port {context.node.port}, which is this cluster's")
        yield Start(context.server, digest)
        yield Wait("PostgreSQL is starting")
    elif seen.state != READY:
        yield Wait(f"PostgreSQL is {seen.state.decode(errors='replace') or 'starting'}")
    elif not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(context.server, digest)


def _missing(context: NodeContext) -> str:
    words = f"its data directory is missing: {context.paths.data}"
    if context.backups is None:
        return words
    return f"{words}. If it cannot be put back, 'cenote cluster recover' restores it from its backups"


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    return {"data_missing": not seen.has_data and context.was_online}


def refuses_writes(content: bytes | None) -> bool:
    """Return whether a configuration makes the server read-only."""
    return _REFUSAL in (content or b"")


def is_former(context: NodeContext, content: bytes | None) -> bool:
    """Return whether a configuration has the settings of version 0.1 that only a restart changes.

    It had the cluster's name where there is the cluster's id now.
    """
    name = f"\ncluster_name = {postgresql_value(context.cluster.name)}\n"
    return name.encode() in (content or b"")


def _refuses_writes(context: NodeContext, seen: Seen) -> bool:
    refused = refuses_writes(seen.files.get(configuration_file(context)))
    if seen.use is None:
        return refused
    return storage.refuses_writes(seen.use, context.cluster.storage_mib, refused=refused)


def configuration_file(context: NodeContext) -> Path:
    """Return our file of settings; where Patroni runs the server, it writes ``postgresql.conf``."""
    if NodeKind.MANAGED in context.kinds:
        return context.paths.settings
    return context.paths.data / "postgresql.conf"


def configuration_files(
    context: NodeContext,
    *,
    read_only: bool = False,
    former: bool = False,
    least: Mapping[str, int] | None = None,
) -> dict[Path, bytes]:
    """Return what the files shall be.

    ``least``: values that settings have at least, whatever the record says.
    ``former``: with the settings that a server of version 0.1 runs with and that only a restart changes, so
    that nothing waits for one and the way back to that version takes none.
    """
    layers = _layers(context, read_only=read_only, former=former)
    settings = postgresql.render(*layers, postgresql.at_least(least or {}, *layers))
    cluster, paths, is_managed = context.cluster, context.paths, NodeKind.MANAGED in context.kinds
    closed = online_migrations.closed_databases(cluster)
    ident = hba.render_ident(
        context.host.service_user,
        context.host.server_user,
        [*sql_changes.users_of_server(cluster, context.by_sql), *([ROLE] if closed else [])],
        nodes=map(fleet_certificates.host_name, _other_hosts(context)),
    )
    admitted = hba.render(
        context.networks,
        nodes=context.has_nodes or context.peer is not None or bool(context.replicas),
        rewinds=is_managed,
        closed=closed,
    )
    return {
        configuration_file(context): settings.encode(),
        paths.data / "pg_hba.conf": admitted.encode(),
        paths.data / "pg_ident.conf": ident.encode(),
    }


def _other_hosts(context: NodeContext) -> tuple[str, ...]:
    """Return the hosts whose nodes may replicate; those of one cluster may share a host."""
    hosts = {one.host for one in context.replicas}
    if NodeKind.MANAGED in context.kinds:
        # One that was removed as lost may still be somewhere, with its certificate.
        hosts |= {node.host for node in context.cluster.nodes if node.lost_at is None}
    elif context.peer is not None:
        hosts.add(context.peer.node.host)
    return tuple(sorted(hosts))


def settings(context: NodeContext) -> dict[str, str]:
    """Return the settings of the server by their names."""
    return postgresql.merged(*_layers(context))


def raised(context: NodeContext, least: Mapping[str, int]) -> dict[str, str]:
    """Return the settings that have more than the record asks for, for the sake of these values."""
    return postgresql.at_least(least, *_layers(context))


def _layers(
    context: NodeContext, *, read_only: bool = False, former: bool = False
) -> tuple[Mapping[str, str], ...]:
    """Return the settings, of which later ones override earlier ones."""
    host, cluster, node = context.host, context.cluster, context.node
    memory_mib = configuration.memory_mib(cluster, host.memory_mib)
    return (
        postgresql.base_settings(context.version),
        postgresql.non_durable_settings() if host.ephemeral else {},
        postgresql.preload_settings(host.libraries.get(context.version, ())),
        sizing.settings(memory_mib, context.size.vcpus, configuration.max_connections(cluster)),
        sizing.slot_settings(cluster.storage_mib),
        postgresql.customer_settings(
            refused_settings.accepted(cluster, context.refused),
            shared_buffers_mib=configuration.shared_buffers_mib(cluster, host.memory_mib),
        ),
        configuration.with_room(cluster, host.memory_mib),
        postgresql.instance_settings(
            cluster_id=cluster.id,
            port=node.port,
            listen=host.listen,
            socket_directory=context.cluster_paths.sockets,
            certificate=context.cluster_paths.certificate,
        ),
        restarts.former_settings(cluster) if former else {},
        _archiving(context),
        _replication(context),
        {"default_transaction_read_only": "on"} if read_only else {},
    )


def _archiving(context: NodeContext) -> dict[str, str]:
    """Return the settings of a server that is backed up; one that is not lets each segment be recycled."""
    if context.backups is None:
        return {}
    command = pgbackrest.archive_command(context.cluster_paths.archive_script)
    return {"archive_command": command, "archive_timeout": "60s"}


def _replication(context: NodeContext) -> dict[str, str]:
    """Return the settings of a server that has another one to follow, or to be followed by."""
    if context.has_nodes:
        return postgresql.settings_for_nodes(context.cluster_paths.certificate) | {
            "wal_retrieve_retry_interval": "100ms"
        }
    if NodeKind.REPLICA in context.kinds:
        known = primary(context) | _SENDER_OF_REPLICA if is_source_known(context) else {}
        return postgresql.replica_settings(conninfo.render(known), slot(context))
    if context.peer is None and not context.replicas:
        return {}
    settings = postgresql.settings_for_nodes(context.cluster_paths.certificate)
    if NodeKind.FOLLOWING in context.kinds:
        reached = conninfo.render(primary(context) | _SENDER)
        settings |= postgresql.standby_settings(reached, context.paths.slot)
    return settings


def primary(context: NodeContext) -> dict[str, str]:
    """Return how this node reaches the server that it follows, be it for a base backup."""
    peer, source = context.peer, context.source
    if source is not None:
        return conninfo.of_source(source.places, context.cluster_paths.certificate, slot(context))
    assert peer is not None
    certificate = context.cluster_paths.certificate
    return conninfo.of_node(peer.address, peer.node.port, certificate, context.paths.slot)


def slot(context: NodeContext) -> str:
    """Return the name of the slot that this node follows another server by."""
    return context.paths.slot if context.cluster.replica_of is None else replicas.slot(context.cluster)


def is_source_known(context: NodeContext) -> bool:
    """Return whether it is known where a read replica reaches its source."""
    return context.source is not None and bool(context.source.places)
