"""PostgreSQL of a node that Patroni runs: the files of both, Patroni's process, and what all nodes follow.

Patroni starts and stops PostgreSQL and says who takes writes.  A server that runs when Patroni comes goes on:
it is adopted.  Data are made of the template once, for a cluster that is new; all other nodes copy them from
the one that takes writes (``base_backup.py``), before Patroni is started there.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cenote.conf import patroni
from cenote.conf.patroni import Login, Member
from cenote.conf.quoting import postgresql_value
from cenote.engine.plan import loaded, postgresql, slots
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.folders import CLOSED
from cenote.engine.plan.loaded import Loaded
from cenote.engine.plan.slots import Slot
from cenote.model.changes import (
    CopyTemplate,
    MakeDirectory,
    Plan,
    Publish,
    Refuse,
    Reload,
    Remove,
    RemoveMark,
    Start,
    Stop,
    Wait,
    WriteFile,
)
from cenote.model.failover import HostFailover
from cenote.model.paths import FIRST_NODE
from cenote.model.record import Secret
from cenote.model.status_records import DiskUse
from cenote.rules import failover_settings, storage


@dataclass(frozen=True, slots=True)
class Seen:
    """``state`` is what the server says of itself in its pid file; ``slots`` are those of one that Patroni
    has not taken over yet.  ``password`` is that of Patroni's login, None if there is none to open.
    ``rewinding``: pg_rewind works; ``rewound``: since it began, so many seconds ago, it has brought the data
    to where another node went on.  ``full_disk`` says so while there is no server, "" if there is room.
    ``remembers``: there is a copy of what the store said once.
    """

    has_data: bool
    files: Mapping[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    state: bytes
    agent: Loaded
    has_folder: bool
    endpoints: tuple[Path | str, ...] = ()
    password: Secret | None = None
    slots: tuple[Slot, ...] = ()
    use: DiskUse | None = None
    rewinding: bool = False
    rewound: float | None = None
    full_disk: str = ""
    remembers: bool = False


_STARTING = "Patroni is starting PostgreSQL"


def plan(context: NodeContext, seen: Seen) -> Plan:
    failover = context.host.failover
    if failover is None:
        yield Refuse("Patroni is not installed on its host, and runs the nodes of a cluster with several")
        return
    if context.cluster.failover_login and seen.password is None:
        yield Refuse("the password of its login to the store cannot be opened")
    if failover.wants_login and not context.cluster.failover_login:
        yield Wait("its login to the store is being made")
    if not context.address:  # without one, Patroni would listen on all addresses
        yield Wait("the address of its host is not known yet")
    yield from _data(context, seen)
    contents = server_files(context, read_only=_refuses_writes(context, seen))
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    yield from loaded.write_differing(context.server, contents, seen.files, seen.loaded, digest)
    if is_new(context) and seen.agent.process is None and seen.state != postgresql.READY:
        yield from _begin(context, seen, digest)
    yield from _run(context, failover, seen)
    if seen.loaded.process is None:
        what = f"rewinding to where {context.leader} went on" if seen.rewinding else _STARTING
        yield Wait(f"{what}: {seen.full_disk}" if seen.full_disk else what)
    elif seen.state != postgresql.READY:
        yield Wait(f"PostgreSQL is {seen.state.decode(errors='replace') or 'starting'}")
    elif not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(context.server, digest)
    if seen.rewound is not None:
        told = f"{context.node.name} rejoined by rewind after {max(seen.rewound, 0.1):.1f} s"
        yield RemoveMark(context.paths.rewound, told)
    if context.leader is None:
        yield Wait("no node takes writes; one of them is about to")
    if NodeKind.WRITER in context.kinds and not patroni.is_same(context.agreed.shared, shared(context)):
        yield Publish(context.cluster.id, patroni.encode_shared(shared(context)), seen.password)


def _data(context: NodeContext, seen: Seen) -> Plan:
    if seen.has_data:
        return
    if context.leader is not None or context.agreed.identifier or context.node.name != FIRST_NODE:
        yield Wait("a node that has the data is to take writes, so that they can be copied")
    elif context.was_online:
        yield Refuse(f"its data directory is missing: {context.paths.data}")
    else:
        yield CopyTemplate(context.cluster.version, context.paths.data)


def is_new(context: NodeContext) -> bool:
    """Return whether the node is the first of a cluster that Patroni has not taken over yet."""
    agreed = context.agreed
    is_free = agreed.leader is None and not agreed.identifier
    return is_free and context.node.name == FIRST_NODE and not context.was_online


def _begin(context: NodeContext, seen: Seen, digest: str) -> Plan:
    """Start the server of a new cluster, to be adopted: it takes writes, and others can copy it at once."""
    if seen.loaded.process is None:
        included = f"include {postgresql_value(str(context.paths.settings))}\n"
        yield WriteFile(context.paths.data / "postgresql.conf", included.encode())
        yield Start(context.server, digest)
    yield Wait("PostgreSQL is starting")


def _run(context: NodeContext, failover: HostFailover, seen: Seen) -> Plan:
    """Have Patroni run, with its configuration of now."""
    if not seen.has_folder:
        yield MakeDirectory(context.paths.patroni, CLOSED, context.host.server_ids)
    program, contents = context.failover_agent, agent_files(context, failover, seen)
    started, shown = _digests(context, failover, seen)
    digest = started + shown
    # What is to differ in a file, but is not read at its start, takes a reload and no start.
    unknown = f"{started}-unknown"
    yield from loaded.write_differing(program, contents, seen.files, seen.agent, digest, unknown)
    if seen.agent.process is None:
        yield from _first_of_all(context)
        yield from _adoptable(context, seen)
        if seen.remembers:
            # It counts where the store says nothing, and may be a pause, in which no node takes over.
            yield Remove(context.paths.patroni_memory)
        yield Start(program, digest)
        yield Wait("Patroni is starting")
    elif not (seen.agent.digest or "").startswith(started):
        # It reads all of its configuration only once.  PostgreSQL goes on without it for a moment.
        yield Stop(replace(program, stop_signal=signal.SIGKILL))
        yield Start(program, digest)
        yield Wait("Patroni is starting")
    elif not loaded.is_current(contents, seen.files, seen.agent, digest):
        yield Reload(program, digest)


def _digests(context: NodeContext, failover: HostFailover, seen: Seen) -> tuple[str, str]:
    """Return digests of what Patroni reads once, and of what it reads again when it is told to.

    Of the store's members it learns by itself, and of what all nodes follow from the store.
    """
    login = replace(_login(context, failover, seen), urls=())
    configuration = patroni.render(_member(context), failover.namespace, login, {})
    certificates = (seen.certificate or b"", context.store_certificate.encode())
    return loaded.digest(configuration, failover.launcher)[:16], loaded.digest(*certificates)[:16]


def _first_of_all(context: NodeContext) -> Plan:
    """Wait for the node that was to be upgraded, which has gone on alone, while others have data, too.

    Patroni would begin with any of them, since what it knew is gone, and undo what was written there alone.
    """
    mark, agreed = context.cluster.major_upgrade, context.agreed
    if mark is None or agreed.leader is not None or mark.node in ("", context.node.name):
        return
    if any(node.name == mark.node and node.lost_at is None for node in context.cluster.nodes):
        yield Wait(f"{mark.node}, which has gone on alone, is about to take writes first")


def _adoptable(context: NodeContext, seen: Seen) -> Plan:
    """Refuse to have Patroni take over a server with slots that it would drop.

    Later the server has those that Patroni makes itself.
    """
    if context.agreed.identifier:
        return
    others = [slot.name for slot in seen.slots if not slot.logical and not slots.is_ours(slot.name)]
    if context.cluster.major_upgrade is not None:  # it ran there before, and its own slots are left
        others = [name for name in others if not slots.is_patronis(name)]
    if others:
        yield Refuse(
            f"its server has physical replication slots that Patroni would drop: {', '.join(others)}; drop "
            "them with pg_drop_replication_slot(), or keep the cluster at one node"
        )


def server_files(context: NodeContext, *, read_only: bool = False) -> dict[Path, bytes]:
    return postgresql.configuration_files(context, read_only=read_only)


def agent_files(context: NodeContext, failover: HostFailover, seen: Seen) -> dict[Path, bytes]:
    paths, login = context.paths, _login(context, failover, seen)
    configuration = patroni.render(_member(context), failover.namespace, login, shared(context))
    contents = {paths.patroni_configuration: configuration, paths.patroni_launcher: failover.launcher}
    if failover.in_fleet:
        contents[paths.store_certificate] = context.store_certificate.encode()
    return contents


def _login(context: NodeContext, failover: HostFailover, seen: Seen) -> Login:
    user = failover.username(context.cluster.id)
    if failover.in_fleet:
        urls = tuple(one for one in seen.endpoints if isinstance(one, str))
        return Login(None, urls, context.paths.store_certificate, user, seen.password)
    sockets = [one for one in seen.endpoints if isinstance(one, Path)]
    return Login(sockets[0] if sockets else None, username=user, password=seen.password)


def shared(context: NodeContext) -> dict[str, Any]:
    cluster = context.cluster
    return patroni.shared(
        postgresql.settings(context),
        [one.slot for one in context.replicas],
        seconds=failover_settings.seconds(cluster),
        synchronous=failover_settings.waits_for_standby(cluster),
    )


def _member(context: NodeContext) -> Member:
    paths = context.paths
    return Member(
        scope=str(context.cluster.id),
        name=context.node.name,
        address=context.address,
        listen=context.host.listen,
        port=context.node.port,
        folder=paths.patroni,
        data=paths.data,
        binaries=context.server_binaries,
        settings=paths.settings,
        sockets=context.cluster_paths.sockets,
        certificate=context.cluster_paths.certificate,
    )


def _refuses_writes(context: NodeContext, seen: Seen) -> bool:
    refused = postgresql.refuses_writes(seen.files.get(postgresql.configuration_file(context)))
    if seen.use is None:
        return refused
    return storage.refuses_writes(seen.use, context.cluster.storage_mib, refused=refused)
