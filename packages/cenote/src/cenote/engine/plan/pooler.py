"""PgBouncer in front of a node.

A pool is an entry of ``[databases]``: its clients name it where they would name a database.  Adding or
changing one is a reload, which keeps every client connected.

Changing the user of a pool takes more.  An entry that loses its user keeps it in PgBouncer's memory
(https://github.com/pgbouncer/pgbouncer/issues/355), and one that gets another may reuse connections of the
old one (https://github.com/pgbouncer/pgbouncer/issues/1115): clients would act as the wrong user.  So such an
entry is removed first, which ends the pool's clients, and added again by a second reload.

A pooler that another owner keeps paused is left so until that owner's deadline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cenote.conf import pgbouncer
from cenote.conf.pgbouncer import Server
from cenote.engine.plan import ending, loaded
from cenote.engine.plan.context import NodeContext, NodeKind
from cenote.engine.plan.loaded import Loaded
from cenote.model import firewall, topology
from cenote.model.changes import EndProcesses, HoldPools, Plan, Reload, Remove, Resume, Start, Stop, Wait
from cenote.model.pauses import LEASE, OURS, Moment, Pause
from cenote.model.records import SwitchStage
from cenote.rules import sizing, sql_changes

EXECUTABLE = "pgbouncer"


@dataclass(frozen=True, slots=True)
class Seen:
    """``listening``: it has bound its port.

    ``port_not_bound``: running, but could not bind its port; PgBouncer then serves its unix socket alone and
    does not retry.  ``orphans``: one works that neither its pid file nor our stamp names.
    ``stale_pid_files``: its pid file, if it is down and the file names nobody or somebody else.
    ``port_taken``: another program listens on its port.  ``paused``: its clients are left waiting; ``pause``
    says by whom, if a file does.  ``users``: the user of each pool in its memory, "" for none;
    asked for only before a reload.  Of a node that was left: ``leads``, the other one takes writes, and the
    number of ``clients``.
    """

    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    listening: bool
    at: Moment
    port_not_bound: bool = False
    orphans: bool = False
    stale_pid_files: tuple[Path, ...] = ()
    port_taken: bool = False
    paused: bool = False
    pause: Pause | None = None
    users: dict[str, str] = field(default_factory=dict)
    leads: bool = False
    clients: int = 0


def plan(context: NodeContext, seen: Seen) -> Plan:
    yield from configure(context, seen)
    pause, is_left = seen.pause, NodeKind.LEFT in context.kinds
    if pause is not None and pause.owner not in OURS and not pause.is_over(seen.at):
        if seen.paused:
            yield Wait(f"the pools are paused by the {pause.owner}: {pause.why}")
    elif is_left and not seen.leads and (seen.paused or pause is not None):
        if pause is None or pause.until - seen.at.seconds < LEASE / 2:  # nobody prolongs it any more
            yield HoldPools(context.bouncer, ending.WHY, _pool_names(context))
        yield Wait("the node that takes over does not take writes yet", often=True)
    elif _is_held(context):
        return  # by the part that leads clients to the node that takes writes
    elif seen.paused or pause is not None:
        yield Resume(context.bouncer)
    if is_left:
        yield Wait("its clients are led to the node that has taken over")


def _is_held(context: NodeContext) -> bool:
    """Return whether clients wait for another of several nodes to take over."""
    switch = context.cluster.switchover
    is_held = switch is not None and switch.stage is not SwitchStage.PREPARING
    is_switching = is_held and switch is not None and switch.source == context.leader
    if topology.holds_for_upgrade(context.cluster):
        return True
    return topology.has_standbys(context.cluster) and (context.leader is None or is_switching)


def report(context: NodeContext, seen: Seen) -> Mapping[str, object]:
    leads_on = NodeKind.LEFT in context.kinds and seen.listening and not seen.paused and seen.pause is None
    found: dict[str, object] = {"clients": seen.clients if leads_on else 0, "leads_on": leads_on}
    if seen.leads and seen.pause is not None:  # it ends with this pass
        found["held_ms"] = round(seen.pause.held_for(seen.at) * 1000)
    return found


def configure(context: NodeContext, seen: Seen) -> Plan:
    """Write its files and have it read them; start it if it is down.

    While it is not known which of several nodes takes writes, it is left as it is.
    """
    if not knows_primary(context):
        return
    changing = {
        pool.name for pool in context.cluster.pools if seen.users.get(pool.name, pool.user) != pool.user
    }
    if changing:
        fewer = configuration_files(context, without=changing)
        yield from _plan(context, fewer, seen)
        read = Loaded(seen.loaded.process, digest_of(fewer, seen))
        seen = replace(seen, files=dict(fewer), loaded=read)
    yield from _plan(context, configuration_files(context), seen)


def _plan(context: NodeContext, contents: dict[Path, bytes], seen: Seen) -> Plan:
    digest = digest_of(contents, seen)
    yield from loaded.write_differing(context.bouncer, contents, seen.files, seen.loaded, digest)
    if seen.orphans:  # it has the port, perhaps
        yield EndProcesses(context.cluster_paths.pooler, EXECUTABLE)
    if seen.port_taken:
        yield Wait(f"another program listens on port {context.node.pool_port}, which is this cluster's")
    if seen.port_not_bound:
        yield Stop(context.bouncer)
    if seen.loaded.process is None or seen.port_not_bound:
        for path in seen.stale_pid_files:
            yield Remove(path)
        yield Start(context.bouncer, digest)
        yield Wait("PgBouncer is starting")
    elif not seen.listening:
        yield Wait(f"PgBouncer has not opened port {context.node.pool_port}")
    elif not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(context.bouncer, digest)


def digest_of(contents: dict[Path, bytes], seen: Seen) -> str:
    return loaded.digest(*contents.values(), seen.certificate or b"")


def configuration_files(context: NodeContext, without: Collection[str] = ()) -> dict[Path, bytes]:
    host, cluster, node, paths = context.host, context.cluster, context.node, context.cluster_paths
    place = pgbouncer.Instance(
        directory=paths.pooler,
        socket_directory=paths.sockets,
        certificate=paths.certificate,
        listen=host.listen,
        port=node.pool_port,
        server=primary(context),
        standby=standby(context),
        has_nodes=topology.has_standbys(cluster),
        max_clients=sizing.clients(context.size, host.descriptors),
    )
    networks = firewall.networks(cluster.firewall)
    pools = [pool for pool in cluster.pools if pool.name not in without]
    verifiers = sql_changes.logins(cluster, context.by_sql)
    settings = pgbouncer.render(place, pools, verifiers, cluster.configuration)
    autodb = bool(cluster.configuration.pgbouncer.get("autodb_pool_size"))
    hba = pgbouncer.render_hba(
        cluster.pools, networks, _shut(context, verifiers), autodb=autodb, standbys=place.standby is not None
    )
    return {
        paths.pooler / "pgbouncer.ini": settings.encode(),
        paths.pooler / "userlist.txt": pgbouncer.render_userlist(verifiers).encode(),
        paths.pooler / "hba.conf": hba.encode(),
    }


def knows_primary(context: NodeContext) -> bool:
    """Return whether it is known which node takes writes, and where it is reached."""
    writer = topology.writer(context.cluster, context.leader)
    if writer is None or not topology.has_standbys(context.cluster):
        return writer is not None
    return writer.host == context.node.host or bool(context.addresses.get(writer.host))


def primary(context: NodeContext) -> Server:
    """Return where pools lead: to the node that takes writes, or that the cluster has moved to."""
    peer = context.peer
    if NodeKind.LEFT in context.kinds and peer is not None:
        return Server(peer.node.port, (peer.address,))
    if not topology.has_standbys(context.cluster):
        return Server(context.node.port)
    writer = topology.writer_or_first(context.cluster, context.leader)
    if writer.host == context.node.host:
        return Server(writer.port)
    return Server(writer.port, (context.addresses.get(writer.host, ""),))


def standby(context: NodeContext) -> Server | None:
    """Return where readers are led: to a standby of this host, or else to those of others, in turn."""
    if not topology.has_standbys(context.cluster):
        return None
    if context.cluster.major_upgrade is not None:
        return primary(context)  # the others are stopped, or made anew
    others = [node for node in context.cluster.nodes if node.name != context.leader and node.lost_at is None]
    mine = next((node for node in others if node.host == context.node.host), None)
    if mine is not None:
        return Server(mine.port)
    # PgBouncer takes several hosts, and one port.
    known = [(node.port, context.addresses.get(node.host, "")) for node in others]
    port = next((port for port, address in known if address), 0)
    hosts = tuple(address for one, address in known if address and one == port)
    return Server(port, hosts) if hosts else None


def _shut(context: NodeContext, users: Collection[str]) -> pgbouncer.Shut:
    """Return what SQL has shut; users that cannot log in anyway need no line."""
    refused, admitted = (
        {database: [name for name in names if name in users] for database, names in found.items()}
        for found in (context.by_sql.refused, context.by_sql.admitted)
    )
    return pgbouncer.Shut(sql_changes.shut_databases(context.by_sql), refused, admitted)


def _pool_names(context: NodeContext) -> tuple[str, ...]:
    return tuple(pool.name for pool in context.cluster.pools)
