"""What pgBackRest needs on a host: its configuration for a cluster, and the script that archives WAL.

The backups themselves are no part of a node, since a pass does not wait for one (``agent/backup_runner.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cenote.conf import pgbackrest
from cenote.engine.plan.context import NodeContext
from cenote.model.changes import Plan, Remove, WriteFile
from cenote.model.host_backups import HostBackups
from cenote.model.record import Secret
from cenote.rules import sizing

CONFIGURATION_MODE, SCRIPT_MODE = 0o600, 0o500


@dataclass(frozen=True, slots=True)
class Seen:
    """``passphrase`` is the cluster's, None if there is none or no key that opens it.

    ``is_there``: the folder of pgBackRest.
    """

    files: Mapping[Path, bytes | None] = field(repr=False)
    modes: Mapping[Path, int | None]
    is_there: bool
    passphrase: Secret | None = None


def plan(context: NodeContext, seen: Seen) -> Plan:
    kept = context.backups
    if kept is None:
        # A server that still has the script in its configuration is told otherwise by a later part, and what
        # it cannot archive until then it keeps.  A gap in it is not lost: once there are backups again, there
        # is another one, of the time without.
        if seen.is_there:
            yield Remove(context.cluster_paths.backups)
        return
    paths = context.cluster_paths
    if seen.passphrase is None:
        # It is told as impossible.  What is there already goes on: it has the passphrase.
        if seen.files.get(paths.archive_script) is None:
            dropping = pgbackrest.dropping_script(paths.backup_state)
            yield WriteFile(paths.archive_script, dropping.encode(), SCRIPT_MODE)
        return
    if context.was_online and seen.files.get(paths.archive_script) is None:
        # WAL of the time without the script counts as archived, so nothing before the next full backup
        # leads across it.  First, since the script tells that this was done.
        yield WriteFile(paths.backup_state / pgbackrest.GAP, b"no backups\n", durable=True)
    wanted = contents(context, kept, seen.passphrase)
    if seen.files.get(paths.backup_key) is not None and paths.backup_key not in wanted:
        yield Remove(paths.backup_key)
    for path, (content, mode) in wanted.items():
        if seen.files.get(path) != content or seen.modes.get(path) != mode:
            yield WriteFile(path, content, mode)


def contents(
    context: NodeContext, kept: HostBackups, passphrase: Secret | None
) -> dict[Path, tuple[bytes, int]]:
    """Return what the files shall be, each with its mode; without a passphrase none of them can be."""
    if passphrase is None or kept.program is None:
        return {}
    cluster, paths = context.cluster, context.cluster_paths
    queue_mib = sizing.archive_queue_mib(cluster.storage_mib)
    configuration = pgbackrest.render(
        kept.repository,
        kept.credentials,
        state=paths.backup_state,
        days=kept.days,
        stanza=str(cluster.id),
        passphrase=passphrase,
        server=pgbackrest.Server(context.paths.data, context.node.port, paths.sockets),
        queue_mib=queue_mib,
        key=paths.backup_key,
    )
    key = pgbackrest.private_key(kept.credentials)
    script = pgbackrest.archive_script(
        kept.program,
        paths.backup_configuration,
        str(cluster.id),
        paths.backup_state,
        queue_mib=queue_mib,
        lineage="" if cluster.backups is None else cluster.backups.lineage,
        disk=Path(kept.repository.path) if kept.on_disk_of_data else None,
        least_free_mib=kept.least_free_mib,
        # A read replica archives nothing before it is a cluster of its own.
        shared=context.shares_repository and cluster.replica_of is None,
    )
    keys = {} if key is None else {paths.backup_key: (key, CONFIGURATION_MODE)}
    return keys | {
        paths.backup_configuration: (configuration.encode(), CONFIGURATION_MODE),
        paths.archive_script: (script.encode(), SCRIPT_MODE),
    }
