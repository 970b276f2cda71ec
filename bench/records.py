"""Creates thousands of cluster records with nodes on other hosts, so that no server is started."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from cenote.model.paths import Layout
from cenote.model.record import Secret
from cenote.model.records import (
    ADMIN_USER,
    DEFAULT_DATABASE,
    CertificateAuthority,
    Cluster,
    Database,
    Node,
    Pool,
    UserRole,
)
from cenote.model.topology import writer_or_first
from cenote.security import certificates, credentials
from cenote.security.sealing import Sealer
from cenote.server import logins
from cenote.server.settings import EtcdSettings
from cenote.store import EtcdClient, PrivateEtcd, etcd_messages
from cenote.store.encoding import encode
from cenote.store.keys import Keys

POOLS = 10  # of each cluster
ELSEWHERE = ("elsewhere",)  # the ids of hosts that nothing runs on
AT_ONCE = 20  # records per transaction, which etcd limits to 128 operations


async def fill(layout: Layout, clusters: int, hosts: Sequence[str] = ELSEWHERE) -> list[str]:
    """Write a number of records, spread over these hosts, and return the API paths of their pools."""
    keys = Keys(EtcdSettings().prefix)
    gateway = client_of(layout)
    records = generate(Sealer(layout.api_sealing_key), hosts)
    paths: list[str] = []
    try:
        for first in range(0, clusters, AT_ONCE):
            operations = []
            for cluster in itertools.islice(records, min(AT_ONCE, clusters - first)):
                operations += _writes(keys, cluster)
                paths += (f"/v2/databases/{cluster.id}/pools/{pool.name}" for pool in cluster.pools)
            await gateway.transact(etcd_messages.TransactionRequest([], operations, []))
    finally:
        await gateway.close()
    return paths


def client_of(layout: Layout) -> EtcdClient:
    """Return a client of a service's etcd, with the rights of its API."""
    return logins.api_client(layout, PrivateEtcd(layout.etcd, clients=layout.etcd_client).socket)


def _node(host: str, port: int) -> Node:
    return Node(name="node-1", host=host, port=port, pool_port=port + 1, metrics_port=port + 2)


def _writes(keys: Keys, cluster: Cluster) -> list[etcd_messages.EtcdOperation]:
    """Return the writes of a record and its claims as the store does them, but for batches of clusters."""
    node, owner = writer_or_first(cluster), str(cluster.id).encode()
    return [
        etcd_messages.put(keys.cluster(cluster.id), encode(cluster)),
        etcd_messages.put(keys.name(cluster.name), owner),
        *(etcd_messages.put(keys.port(node.host, port), owner) for port in sorted(node.ports)),
    ]


def generate(sealer: Sealer, hosts: Sequence[str] = ELSEWHERE, first: int = 0) -> Iterator[Cluster]:
    """Generate realistic records; they share what is costly to create, but not the passwords.

    Their names and ports are numbered from ``first``, so that several series can be in one store.
    """
    certificate, key = certificates.new_authority("bench")
    authority = CertificateAuthority(certificate=certificate, sealed_key=sealer.seal(Secret(key)))
    admin = credentials.new_user(ADMIN_USER, sealer, UserRole.PRIMARY)
    pools = tuple(
        Pool(name=f"pool-{number}", database=DEFAULT_DATABASE, size=2, user=ADMIN_USER)
        for number in range(POOLS)
    )
    for number in itertools.count(first):
        host = hosts[number % len(hosts)]
        password = sealer.seal(Secret(f"cenote-{number:024}"))
        yield Cluster(
            id=uuid4(),
            name=f"cluster-{number}",
            version="15",
            size="db-s-1vcpu-1gb",
            region="nyc1",
            created_at=datetime.now(UTC),
            storage_mib=10240,
            project_id=uuid4(),
            private_network_id=uuid4(),
            authority=authority,
            nodes=(_node(host, 3 * number),),
            users=(msgspec.structs.replace(admin, sealed_password=password),),
            databases=(Database(name=DEFAULT_DATABASE),),
            pools=pools,
            server_names=("localhost", "127.0.0.1", "::1"),
        )
