"""Upgrading a cluster to another major version of PostgreSQL.

What can be checked is checked before anything stops: by the agent of the cluster's host, within seconds.
Then the record has the new version at once, and the agent carries it out; what it refuses later takes the
version back, with an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

from cenote.api import schema_fields
from cenote.api.auth import UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, no_content, operation
from cenote.http.routing import Response
from cenote.model import topology
from cenote.model.event_records import EventType
from cenote.model.records import Cluster
from cenote.rules import major_upgrades, record_formats, upgrades_of_nodes

PATH = "/v2/databases/{database_cluster_uuid}/upgrade"


class Upgrade(Body):
    version: schema_fields.MajorVersion


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
    _check(request, cluster)
    version = _version(request, cluster, body.version)
    node = request.service.store.shown_node(cluster)
    answer = await request.service.observer.upgrade_problems(cluster.id, node.name, version)
    major_upgrades.refuse(version, answer.problems)
    now = datetime.now(UTC).replace(microsecond=0)

    def upgraded(current: Cluster) -> Cluster:
        _check(request, current)
        leader = request.service.store.leader(current)
        return upgrades_of_nodes.begun(current, _version(request, current, version), leader, now)

    note = request.note(EventType.CLUSTER_UPDATE)
    await request.service.store.update_cluster(cluster.id, upgraded, note)
    return no_content()


def _check(request: Call, cluster: Cluster) -> None:
    service = request.service
    record_formats.check_readers(service.store.known_hosts(), record_formats.WITH_MAJOR_UPGRADES)
    seen = service.report(cluster)
    found = service.topology(cluster)
    major_upgrades.check(cluster, seen, found.status)
    if topology.has_standbys(cluster):
        upgrades_of_nodes.check(found.members)


def _version(request: Call, cluster: Cluster, requested: str) -> str:
    hosts = request.service.store.hosts_by_id()
    living = {node.host for node in cluster.nodes if node.lost_at is None}
    return major_upgrades.version(cluster, requested, [hosts[id] for id in sorted(living) if id in hosts])


ROUTES = (upgrade_cluster,)
