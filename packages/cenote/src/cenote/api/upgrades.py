"""Upgrading a cluster to another major version of PostgreSQL.

What can be checked is checked before anything stops: by the agent of the cluster's host, within seconds.
Then the record has the new version at once, and the agent carries it out; what it refuses later takes the
version back, with an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec import UnsetType

from cenote.api import clusters, schema_fields
from cenote.api.auth import CREATE, UPDATE
from cenote.api.call import Call
from cenote.api.forks import BackupRestore
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.rehearsal_view import RehearsalView, rehearsal_view
from cenote.http.routing import Response
from cenote.model import topology
from cenote.model.event_records import EventType
from cenote.model.records import ENGINE, Cluster
from cenote.rules import major_upgrades, record_formats, rehearsals, replicas, upgrades_of_nodes

PATH = "/v2/databases/{database_cluster_uuid}/upgrade"


REHEARSAL = PATH + "/rehearsal"


class Upgrade(Body):
    version: schema_fields.MajorVersion


class RehearsalAnswer(msgspec.Struct):
    rehearsal: RehearsalView


@operation(
    HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=Upgrade, also=(412,), of_replica=replicas.AT_SOURCE
)
async def upgrade_cluster(request: Call) -> Response:
    """Upgrade a cluster to a newer major version of PostgreSQL that is installed on its hosts.

    Clients of transaction pools wait while its server is exchanged; others are disconnected.  The cluster's
    ``cenote.reason`` says how far it is.  Whatever fails leaves the former version running.
    """
    body = await request.decoded(Upgrade)
    cluster = request.cluster().value
    version = await _checked(request, cluster, body.version)
    now = datetime.now(UTC).replace(microsecond=0)

    def upgraded(current: Cluster) -> Cluster:
        _check(request, current)
        leader = request.service.store.leader(current)
        return upgrades_of_nodes.begun(current, _version(request, current, version), leader, now)

    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(cluster.id, upgraded, note)
    return no_content()


@operation(
    HTTPMethod.POST,
    REHEARSAL,
    scope=UPDATE,
    and_scope=CREATE,
    status=202,
    body=Upgrade,
    answer=RehearsalAnswer,
    also=(412,),
    of_replica=replicas.AT_SOURCE,
)
async def rehearse_upgrade(request: Call) -> Response:
    """Rehearse the upgrade of a cluster to a newer major version, on a fork that is removed afterwards.

    The fork, a cluster of one node named NAME-rehearsal, is upgraded and checked.  The cluster's
    ``cenote.rehearsal`` has the result: for how long it had no server, and what was found.
    """
    body = await request.decoded(Upgrade)
    service, cluster = request.service, request.cluster().value
    rehearsals.check_none(cluster)
    await _checked(request, cluster, body.version)
    fork = clusters.CreateCluster(
        name=rehearsals.fork_name(cluster),
        engine=ENGINE,
        size=cluster.size,
        region=cluster.region,
        num_nodes=1,
        storage_size_mib=cluster.storage_mib,
        project_id=str(cluster.project_id),
        private_network_uuid=str(cluster.private_network_id),
        backup_restore=BackupRestore(database_name=cluster.name),
        cenote=clusters.ClusterExtension(undelete_days=0),
    )
    made = await clusters.create(
        service, fork, request.note(EventType.CLUSTER_CREATE), rehearsal_of=cluster.id
    )
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        stored = await service.store.update_cluster(
            cluster.id,
            lambda one: rehearsals.begun(one, body.version, made.value.id, now),
            request.note(EventType.CLUSTER_UPDATE),
        )
    except BaseException:
        await service.store.delete_cluster(made.value.id, datetime.now(UTC))
        raise
    view = rehearsal_view(service, stored.value)
    assert not isinstance(view, UnsetType)
    return answer(RehearsalAnswer(view), 202)


async def _checked(request: Call, cluster: Cluster, requested: str) -> str:
    """Return the version, if the cluster can be upgraded to it; else raise what is in the way."""
    _check(request, cluster)
    version = _version(request, cluster, requested)
    node = request.service.store.shown_node(cluster)
    found = await request.service.observer.upgrade_problems(cluster.id, node.name, version)
    major_upgrades.refuse(version, found.problems)
    return version


def _check(request: Call, cluster: Cluster) -> None:
    service = request.service
    record_formats.check_readers(service.store.known_hosts(), record_formats.WITH_MAJOR_UPGRADES)
    seen = service.report(cluster)
    followers = [stored.value for stored in service.store.replicas(cluster.id)]
    replicas.check_none_promoted(followers)
    apart = [one.name for one in followers if service.topology(one).health is not topology.Health.HEALTHY]
    replicas.check_none_has_more(cluster, apart)
    found = service.topology(cluster)
    major_upgrades.check(cluster, seen, found.status)
    if topology.has_standbys(cluster):
        upgrades_of_nodes.check(found.members)


def _version(request: Call, cluster: Cluster, requested: str) -> str:
    """Return the version, if it is installed on the hosts of the cluster and of its read replicas."""
    store = request.service.store
    hosts, replicas = store.hosts_by_id(), [stored.value for stored in store.replicas(cluster.id)]
    nodes = [node for one in (cluster, *replicas) for node in one.nodes]
    living = {node.host for node in nodes if node.lost_at is None}
    return major_upgrades.version(cluster, requested, [hosts[id] for id in sorted(living) if id in hosts])


ROUTES = (upgrade_cluster, rehearse_upgrade)
