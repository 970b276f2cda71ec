"""PgBouncer in front of a node.

A pool is an entry of ``[databases]``: its clients name it where they would name a database.  Adding or
changing one is a reload, which keeps every client connected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cenote import catalog, sources
from cenote.changes import Plan, Reload, Start, Wait
from cenote.conf import pgbouncer
from cenote.engine import loaded
from cenote.engine.loaded import Loaded
from cenote.engine.wanted import Wanted
from cenote.host import files
from cenote.host.machine import Machine
from cenote.host.sql import Session


@dataclass(frozen=True, slots=True)
class Seen:
    """``listening``: PgBouncer starts also without its port, and then serves its unix socket alone."""

    files: dict[Path, bytes | None] = field(repr=False)
    certificate: bytes | None = field(repr=False)
    loaded: Loaded
    listening: bool


async def look(machine: Machine, wanted: Wanted, _session: Session) -> Seen:
    found = loaded.look(wanted.bouncer)
    return Seen(
        files=loaded.look_at_files(tuple(_configuration(wanted))),
        certificate=files.read(wanted.paths.certificate),
        loaded=found,
        listening=found.process is not None and machine.listens(found.process, wanted.node.pool_port),
    )


def plan(wanted: Wanted, seen: Seen) -> Plan:
    contents = _configuration(wanted)
    yield from loaded.write_differing(contents, seen.files)
    digest = loaded.digest(*contents.values(), seen.certificate or b"")
    if seen.loaded.process is None:
        yield Start(wanted.bouncer, digest)
        yield Wait("PgBouncer is starting")
    elif not seen.listening:
        yield Wait(f"PgBouncer has not opened port {wanted.node.pool_port}")
    elif seen.loaded.digest != digest:
        yield Reload(wanted.bouncer, digest)


def _configuration(wanted: Wanted) -> dict[Path, bytes]:
    site, cluster, node, paths = wanted.site, wanted.cluster, wanted.node, wanted.paths
    place = pgbouncer.Place(
        directory=paths.pooler,
        socket_directory=paths.sockets,
        certificate=paths.certificate,
        listen=site.listen,
        port=node.pool_port,
        server_port=node.port,
        max_clients=catalog.max_clients(wanted.size),
    )
    networks = sources.networks(cluster.firewall)
    return {
        paths.pooler / "pgbouncer.ini": pgbouncer.render(place, cluster.pools).encode(),
        paths.pooler / "userlist.txt": pgbouncer.render_userlist(cluster.users).encode(),
        paths.pooler / "hba.conf": pgbouncer.render_hba(cluster.pools, networks).encode(),
    }
