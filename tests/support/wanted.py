"""A record and the place for it, for plans that no machine carries out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from cenote.engine.plan.context import HostContext, NodeContext
from cenote.model.changes import Change, Wait
from cenote.model.paths import Layout
from cenote.model.pauses import Moment
from cenote.model.processes import Process
from cenote.model.records import CertificateAuthority, Cluster, Database, Node, Pool, User, UserRole
from cenote.model.topology import writer_or_first

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MOMENT = Moment("a boot", 1000.0)
PROCESS = Process(pid=4711, started=1)
CERTIFICATE = b"a certificate and its key"


def user(name: str, verifier: str = "v") -> User:
    role = UserRole.PRIMARY if name == "doadmin" else UserRole.NORMAL
    return User(name=name, verifier=verifier, sealed_password="", role=role)


CLUSTER = Cluster(
    id=uuid4(),
    name="backend",
    version="15",
    size="db-s-1vcpu-1gb",
    region="nyc1",
    created_at=NOW,
    storage_mib=1,
    project_id=uuid4(),
    private_network_id=uuid4(),
    authority=CertificateAuthority(certificate="", sealed_key=""),
    nodes=(Node(name="node-1", host="here", port=25060, pool_port=25061),),
    users=(user("doadmin"), user("app")),
    databases=(Database(name="defaultdb"), Database(name="orders")),
    pools=(Pool(name="backend-pool", database="orders", size=3, user="app"),),
    server_names=("localhost",),
)
SITE = HostContext(
    layout=Layout(Path("/data")),
    listen=("127.0.0.1",),
    service_user="root",
    server_user="postgres",
    binaries={"15": Path("/usr/lib/postgresql/15/bin")},
    pgbouncer=Path("/usr/sbin/pgbouncer"),
    memory_mib=8192,
)
WANTED = NodeContext(CLUSTER, writer_or_first(CLUSTER), SITE)


def until_wait(changes: list[Change]) -> list[Change]:
    """What would be done: a wait ends the pass."""
    done: list[Change] = []
    for change in changes:
        if isinstance(change, Wait):
            break
        done.append(change)
    return done


def kinds(changes: list[Change]) -> list[type[Change]]:
    return [type(change) for change in changes]
