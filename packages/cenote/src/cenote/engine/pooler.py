"""PgBouncer in front of a node.

A pool is an entry of ``[databases]``: its clients name it where they would name a database.  Adding or
changing one is a reload, which keeps every client connected.

One change is more than that: another user.  An entry that loses its user keeps it in PgBouncer's memory
(https://github.com/pgbouncer/pgbouncer/issues/355), and one that gets another may find connections of the
old one (https://github.com/pgbouncer/pgbouncer/issues/1115): clients would act as a user that they are not.
So such an entry is taken out first, which ends the pool's clients, and comes back by a second reload.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from cenote.conf import pgbouncer
from cenote.engine import loaded
from cenote.engine.context import NodeContext
from cenote.engine.loaded import Loaded
from cenote.host import files, processes, sql, system
from cenote.host.executor import Machine
from cenote.host.sql import Session
from cenote.model import catalog, firewall
from cenote.model.changes import Plan, Reload, Remove, Resume, Start, Stop, Wait


@dataclass(frozen=True, slots=True)
class Seen:
    """``listening``: PgBouncer starts also without its port, and then serves its unix socket alone.

    ``deaf``: it has done so; it does not try again.  ``strangers``: its pid file, if its pid has gone to
    somebody else.  ``port_taken``: somebody else listens on its port.  ``paused``: its clients were left
    waiting for a restart of the server.  ``users``: the user of each pool in its memory, "" for none; asked
    for only when it is going to be reloaded.
    """

    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    listening: bool
    deaf: bool = False
    strangers: tuple[Path, ...] = ()
    port_taken: bool = False
    paused: bool = False
    users: dict[str, str] = field(default_factory=dict)


async def look(machine: Machine, wanted: NodeContext, session: Session) -> Seen:
    found, port = loaded.look(wanted.bouncer), wanted.node.pool_port
    listening = found.process is not None and machine.listens(found.process, port)
    deaf = False
    if found.process is not None and not listening:
        # The unix socket is opened last, so the port is looked for once more after that is there.
        is_up = system.answers(wanted.paths.sockets / f".s.PGSQL.{port}")
        listening = machine.listens(found.process, port)
        deaf = is_up and not listening
    seen = Seen(
        files=loaded.look_at_files(tuple(_configuration(wanted))),
        certificate=files.read(wanted.paths.certificate),
        loaded=found,
        listening=listening,
        deaf=deaf,
        strangers=processes.naming_strangers([wanted.bouncer.pid_file]) if found.process is None else (),
        port_taken=not listening
        and (found.process is None or deaf)
        and not system.can_listen(wanted.site.listen, port),
        paused=listening and await session.paused(),
    )
    contents = _configuration(wanted)
    if listening and not loaded.is_current(contents, seen.files, found, _digest(contents, seen)):
        return replace(seen, users=await _users(session))
    return seen


async def _users(session: Session) -> dict[str, str]:
    rows = await sql.console(session.sockets, session.pool_port, "SHOW DATABASES")
    return {row["name"]: row["force_user"] or "" for row in rows}


def plan(wanted: NodeContext, seen: Seen) -> Plan:
    changing = {
        pool.name for pool in wanted.cluster.pools if seen.users.get(pool.name, pool.user) != pool.user
    }
    if changing:
        fewer = _configuration(wanted, without=changing)
        yield from _plan(wanted, fewer, seen)
        read = Loaded(seen.loaded.process, _digest(fewer, seen))
        seen = replace(seen, files=dict(fewer), loaded=read)
    yield from _plan(wanted, _configuration(wanted), seen)
    if seen.paused:
        yield Resume(wanted.bouncer)


def _plan(wanted: NodeContext, contents: dict[Path, bytes], seen: Seen) -> Plan:
    digest = _digest(contents, seen)
    yield from loaded.write_differing(wanted.bouncer, contents, seen.files, seen.loaded, digest)
    if seen.port_taken:
        yield Wait(f"another program listens on port {wanted.node.pool_port}, which is this cluster's")
    if seen.deaf:
        yield Stop(wanted.bouncer)
    if seen.loaded.process is None or seen.deaf:
        for path in seen.strangers:
            yield Remove(path)
        yield Start(wanted.bouncer, digest)
        yield Wait("PgBouncer is starting")
    elif not seen.listening:
        yield Wait(f"PgBouncer has not opened port {wanted.node.pool_port}")
    elif not loaded.is_current(contents, seen.files, seen.loaded, digest):
        yield Reload(wanted.bouncer, digest)


def _digest(contents: dict[Path, bytes], seen: Seen) -> str:
    return loaded.digest(*contents.values(), seen.certificate or b"")


def _configuration(wanted: NodeContext, without: Collection[str] = ()) -> dict[Path, bytes]:
    site, cluster, node, paths = wanted.site, wanted.cluster, wanted.node, wanted.paths
    place = pgbouncer.Instance(
        directory=paths.pooler,
        socket_directory=paths.sockets,
        certificate=paths.certificate,
        listen=site.listen,
        port=node.pool_port,
        server_port=node.port,
        max_clients=catalog.max_clients(wanted.size),
    )
    networks = firewall.networks(cluster.firewall)
    pools = [pool for pool in cluster.pools if pool.name not in without]
    return {
        paths.pooler / "pgbouncer.ini": pgbouncer.render(place, pools, cluster.configuration).encode(),
        paths.pooler / "userlist.txt": pgbouncer.render_userlist(cluster.users).encode(),
        paths.pooler / "hba.conf": pgbouncer.render_hba(cluster.pools, networks).encode(),
    }
