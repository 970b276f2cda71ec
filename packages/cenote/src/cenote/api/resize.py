"""Resizing a cluster, and moving it to another region.

Both wait for a moment, which is enough where nothing has to restart.  After that, the status of the cluster
shows that the change is in progress until the agent has applied it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

from cenote import rules
from cenote.api import placement, schema_fields
from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.config import host_capabilities
from cenote.api.networks import network_of
from cenote.api.operation import Body, accepted, operation
from cenote.errors import Conflict
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.records import Cluster
from cenote.model.topology import node_count
from cenote.rules import configuration, node_counts, replicas, storage
from cenote.rules.scheduling import Placement, Wanted
from cenote.store import PortTaken

PATH = "/v2/databases/{database_cluster_uuid}"


class Resize(Body):
    """Without ``storage_size_mib`` a cluster gets the default storage of its size."""

    size: schema_fields.SizeSlug
    num_nodes: schema_fields.NodeCount
    storage_size_mib: schema_fields.StorageMib | None = None


class Migrate(Body):
    region: schema_fields.RegionSlug
    private_network_uuid: schema_fields.OptionalId | None = None


@operation(HTTPMethod.PUT, PATH + "/resize", scope=UPDATE, status=202, body=Resize, also=(412,))
async def resize_cluster(request: Call) -> Response:
    """Resize a cluster; clients of its pools stay connected, even if the server has to restart.

    Further nodes copy the data of the one that takes writes, and that one stays when there are to be fewer.
    A read replica, by its own id, has one node, and is never smaller than its source.
    """
    cluster = request.cluster().value
    service, refusals = request.service, placement.Refusals()
    body = await request.decoded(Resize)
    count = rules.num_nodes(body.num_nodes)
    size = rules.size(body.size)
    storage_mib = rules.storage_mib(body.storage_size_mib, size)
    if cluster.replica_of is not None and body.storage_size_mib is None:
        storage_mib = max(storage_mib, cluster.storage_mib)
    capabilities = host_capabilities(request.service, cluster)

    def choose() -> tuple[Placement, ...]:
        current = request.cluster().value
        request.require_idle(current)
        node_counts.check(current, count)
        wanted = Wanted(version=current.version, memory_mib=size.memory_mib, storage_mib=storage_mib)
        return placement.more(service, current, count - node_count(current), wanted, refusals)

    def resized(current: Cluster) -> Cluster:
        request.require_idle(current)
        node_counts.check(current, count)
        followers = [stored.value for stored in service.store.replicas(current.id)]
        replicas.check_growth(current, size, storage_mib, followers)
        if current.replica_of is not None:
            source = service.store.living_cluster(current.replica_of)
            replicas.check_not_upgraded(current, source)
            replicas.check_size(source or current, size, storage_mib)
        after = rules.resize(current, size, storage_mib)
        if node_count(current) + len(placed) < count:
            raise Conflict("The number of nodes was changed meanwhile; try again.")
        if placed:
            after = node_counts.grown(after, placed, datetime.now(UTC))
        elif count < node_count(current):
            leader, reports = service.store.leader(current), service.store.reports(current.id)
            drained = service.store.drains().keys()
            after = node_counts.shrunk(after, count, leader, reports, drained)
        if storage_mib < current.storage_mib:
            status = request.service.report(current)
            storage.check_shrink(storage_mib, 0 if status is None else status.used_mib)
        configuration.check_fits(after, capabilities)
        placement.check_growth(request.service, current, after)
        return after

    note = request.note(EventType.CLUSTER_UPDATE)
    while True:
        placed: tuple[Placement, ...] = ()
        if count > node_count(cluster):
            placed = await placement.all_claimed(service, cluster.id, refusals, choose, cluster.nodes)
        try:
            stored = await service.store.update_cluster(cluster.id, resized, note)
            break
        except PortTaken as error:  # a concurrent request took one of the ports
            await placement.release(service, cluster.id, {one.host.id for one in placed})
            refusals.add(error.host, error.ports)
        except BaseException:
            await placement.release(service, cluster.id, {one.host.id for one in placed})
            raise
    await service.wait_until_online(stored)
    return accepted()


@operation(HTTPMethod.PUT, PATH + "/migrate", scope=UPDATE, status=202, body=Migrate, also=(412,))
async def migrate_cluster(request: Call) -> Response:
    """Move a cluster to another region, which is only a label: its servers stay on their host."""
    cluster = request.cluster().value
    body = await request.decoded(Migrate)
    region = rules.region(body.region)
    network_id = network_of(request.service, body.private_network_uuid, region)

    def migrated(current: Cluster) -> Cluster:
        request.require_idle(current)
        return rules.migrate(current, region, network_id)

    note = request.note(EventType.CLUSTER_UPDATE)
    stored = await request.service.store.update_cluster(cluster.id, migrated, note)
    await request.service.wait_until_online(stored)
    return accepted()


ROUTES = (resize_cluster, migrate_cluster)
