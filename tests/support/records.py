"""Records to begin a test with."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from cenote.model.record import Secret
from cenote.model.records import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    CertificateAuthority,
    Cluster,
    Database,
    Node,
    RemovalKind,
    User,
    UserRole,
)
from cenote.rules import removals
from cenote.security import certificates, scram
from cenote.security.sealing import Sealer

PASSWORD = "correct-horse-battery"
NAMES = ("localhost", "127.0.0.1")


@functools.cache
def verifier(password: str = PASSWORD) -> str:
    return scram.verifier(password)


def user(name: str, password: str = PASSWORD, role: UserRole = UserRole.NORMAL) -> User:
    return User(name=name, verifier=verifier(password), sealed_password="", role=role)


def cluster(
    sealer: Sealer, *, port: int, version: str, host: str = "here", id: UUID | None = None
) -> Cluster:
    """A cluster of the smallest size, with what every cluster has."""
    id = id or uuid4()
    certificate, key = certificates.new_authority("a cluster under test")
    return Cluster(
        id=id,
        name=f"test-{id.hex[:8]}",
        version=version,
        size="db-s-1vcpu-1gb",
        region="nyc1",
        created_at=datetime.now(UTC),
        storage_mib=10240,
        project_id=uuid4(),
        private_network_id=uuid4(),
        authority=CertificateAuthority(certificate=certificate, sealed_key=sealer.seal(Secret(key))),
        nodes=(Node(name="node-1", host=host, port=port, pool_port=port + 1),),
        users=(user(ADMIN_USER, role=UserRole.PRIMARY),),
        databases=(Database(name=DEFAULT_DATABASE),),
        server_names=NAMES,
    )


def ca_file(cluster: Cluster, folder: Path) -> str:
    """Write the cluster's CA certificate where a client can be pointed at it."""
    path = folder / f"{cluster.name}.crt"
    path.write_text(cluster.authority.certificate)
    return str(path)


def with_removals(before: Cluster, after: Cluster) -> Cluster:
    """Return the later record with the users and databases that it has no more noted as removed."""
    gone = [(RemovalKind.USER, one.name) for one in before.users if after.user(one.name) is None]
    gone += [(RemovalKind.DATABASE, one.name) for one in before.databases if after.database(one.name) is None]
    for kind, name in gone:
        after = removals.begin(after, kind, name, None)
    return after
