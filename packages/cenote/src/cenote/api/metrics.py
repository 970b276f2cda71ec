"""Metrics: credentials, targets and CA certificates for Prometheus, and the service's own metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPMethod

import msgspec

from cenote.api import silence
from cenote.api.auth import READ, UPDATE, VIEW_CREDENTIALS, authenticate
from cenote.api.call import Call
from cenote.api.operation import Body, answer, no_content, operation
from cenote.api.service import Service
from cenote.errors import Unavailable
from cenote.http.routing import Response
from cenote.metrics import service_metrics
from cenote.metrics.exposition import CONTENT_TYPE
from cenote.metrics.service_metrics import ClusterState, HostState, ServiceState
from cenote.model import catalog
from cenote.model.fleet_records import Host, HostRole
from cenote.model.records import Cluster, Node
from cenote.security import basic_auth, credentials
from cenote.stats.observer import AgentNumbers
from cenote.stats.process import own_process, parent_process
from cenote.store import member_state

PATH = "/v2/databases/metrics/credentials"


class MetricsLoginView(msgspec.Struct):
    """Credentials for basic authentication, the same for all clusters."""

    basic_auth_username: str
    basic_auth_password: str


class MetricsLoginAnswer(msgspec.Struct):
    credentials: MetricsLoginView


class MetricsLoginBody(Body):
    basic_auth_username: str
    basic_auth_password: str


class ReplaceMetricsLogin(Body):
    credentials: MetricsLoginBody


@operation(
    HTTPMethod.GET, PATH, scope=UPDATE, and_scope=VIEW_CREDENTIALS, answer=MetricsLoginAnswer, also=(503,)
)
async def get_metrics_login(request: Call) -> Response:
    """Get the credentials for reading the metrics of every cluster; the first request creates them."""
    service = request.service
    login = service.store.metrics_login()
    if login is None:
        login = await service.store.add_metrics_login(credentials.new_metrics_login(service.sealer))
    password = service.sealer.open(login.sealed_password).reveal()
    return answer(MetricsLoginAnswer(MetricsLoginView(login.username, password)))


@operation(HTTPMethod.PUT, PATH, scope=UPDATE, status=204, body=ReplaceMetricsLogin)
async def replace_metrics_login(request: Call) -> Response:
    """Replace the credentials for metrics; the old ones stop working at once."""
    body = (await request.decoded(ReplaceMetricsLogin)).credentials
    basic_auth.check(body.basic_auth_username, body.basic_auth_password)
    login = credentials.metrics_login(
        body.basic_auth_username, body.basic_auth_password, request.service.sealer
    )
    await request.service.store.replace_metrics_login(login, request.note())
    return no_content()


class TargetView(msgspec.Struct):
    """A target of Prometheus' HTTP service discovery; its labels are for relabeling only."""

    targets: list[str]
    labels: dict[str, str]


@operation(HTTPMethod.GET, "/v2/cenote/metrics_targets", scope=READ, answer=list[TargetView])
async def list_metrics_targets(request: Call) -> Response:
    """List the metrics endpoints of all clusters, for Prometheus' HTTP service discovery.

    Those on hosts without the role `api` have none.
    """
    service = request.service
    found = sorted(service.store.clusters(deleted=False), key=lambda stored: stored.value.name)
    return answer([target for stored in found for target in _targets(service, stored.value)])


@operation(HTTPMethod.GET, "/v2/cenote/metrics_ca", scope=READ, answer=str)
async def get_metrics_authorities(request: Call) -> Response:
    """Get the CA certificates of all clusters as one file, since a scrape job takes only one."""
    found = sorted(request.service.store.clusters(deleted=False), key=lambda stored: stored.value.name)
    # A read replica has that of its source.
    text = "".join(dict.fromkeys(stored.value.authority.certificate for stored in found))
    return Response(text.encode("ascii"), media_type="text/plain")


@operation(HTTPMethod.GET, "/metrics", scope=None, answer=str, also=(401, 403, 429))
async def get_service_metrics(request: Call) -> Response:
    """Get the metrics of the service itself, for Prometheus: of this API, and of all hosts and agents.

    Requires the metrics credentials or a token with `database:read`. After ten failed logins within a minute,
    an address is refused until a minute has passed.
    """
    service = request.service
    shown = request.headers.get("authorization", "").encode("latin-1")
    client = request.scope.get("client")
    address = client[0] if client is not None else ""
    if not service.metrics_auth.admits(shown, service.store.metrics_login(), service.sealer, address):
        await service.unknown_tokens.confirm(service.store, shown, address)
        authenticate(service.store, shown).require(READ)
    hosts = await _hosts(service)
    members = await member_state.numbers(service.store.client)
    state = _state(service, hosts, members)
    page = service_metrics.collect(service.requests, state, own_process(), parent_process())
    # In a thread, so that it does not delay other requests.
    body = await asyncio.to_thread(page.render)
    return Response(body, media_type=CONTENT_TYPE)


def _targets(service: Service, cluster: Cluster) -> list[TargetView]:
    """Return a target for each host with nodes of a cluster: what it says is of all that it has."""
    found = [_target(service, cluster, node) for node in service.pooler_nodes(cluster)]
    return [target for target in found if target is not None]


def _target(service: Service, cluster: Cluster, node: Node) -> TargetView | None:
    host = service.store.host(node.host)
    if not node.metrics_port or (host is not None and HostRole.API not in host.roles):
        return None
    # The name of the cluster leads to the host of the node that takes writes.
    is_first = node.host == service.store.shown_node(cluster).host
    address = service.host_of(cluster) if is_first else service.address_of(node)
    shown = f"[{address}]" if ":" in address else address
    return TargetView(
        [f"{shown}:{node.metrics_port}"],
        {
            "__meta_cenote_cluster": cluster.name,
            "__meta_cenote_cluster_id": str(cluster.id),
            "__meta_cenote_region": cluster.region,
            "__meta_cenote_size": cluster.size,
            "__meta_cenote_host": silence.name_of(service.store, node.host),
            "__meta_cenote_node": node.name,
            "__meta_cenote_zone": "" if host is None else host.zone,
            # With leading and trailing commas, so that ",tag," matches any of them.
            "__meta_cenote_tags": "".join(f",{tag}" for tag in cluster.tags) + "," if cluster.tags else "",
        },
    )


async def _hosts(service: Service) -> list[HostState]:
    """Return all hosts; the agents of those that are up are asked, all at once."""
    hosts, presences = service.store.known_hosts(), service.store.presences()
    agents = await asyncio.gather(*(_agent(service, host.id) for host in hosts if host.id in presences))
    found = dict(zip((host.id for host in hosts if host.id in presences), agents, strict=True))
    here: dict[str, list[Cluster]] = {}
    for stored in service.store.clusters():
        if stored.value.is_put_away:
            continue
        for id in {node.host for node in stored.value.nodes}:
            here.setdefault(id, []).append(stored.value)
    return [_host(service, host, here.get(host.id, []), found) for host in hosts]


def _host(
    service: Service, host: Host, clusters: list[Cluster], agents: Mapping[str, AgentNumbers | None]
) -> HostState:
    up = host.id in agents
    absence = service.store.absences().get(host.id)
    seen_at = datetime.now(UTC) if up else (absence and absence.since) or host.seen_at
    return HostState(
        host=host,
        up=up,
        seen_at=None if seen_at is None else seen_at.timestamp(),
        memory_promised_mib=sum(catalog.SIZES[cluster.size].memory_mib for cluster in clusters),
        disk_promised_mib=sum(cluster.storage_mib for cluster in clusters),
        clusters=len(clusters),
        agent=agents.get(host.id),
    )


async def _agent(service: Service, host_id: str) -> AgentNumbers | None:
    try:
        return await service.observer.agent(host_id)
    except Unavailable:
        return None


def _state(
    service: Service, hosts: list[HostState], store_members: tuple[int, int, bool] | None
) -> ServiceState:
    clusters = []
    for stored in service.store.clusters(deleted=False):
        cluster, node = stored.value, service.store.shown_node(stored.value)
        seen, now = service.report(cluster), service.topology(cluster)
        clusters.append(
            ClusterState(
                name=cluster.name,
                host=silence.name_of(service.store, node.host),
                node=node.name,
                status=now.status,
                health=now.health,
                failing=seen is not None and seen.failing,
                backups=None if seen is None else seen.backups,
            )
        )
    validity = service.certificate_validity()
    return ServiceState(
        clusters,
        hosts,
        service.store.connected,
        None if validity is None else validity.ends.timestamp(),
        None if validity is None else validity.covers(datetime.now(UTC)),
        store_members,
    )


ROUTES = (get_metrics_login, replace_metrics_login, list_metrics_targets, get_metrics_authorities)
