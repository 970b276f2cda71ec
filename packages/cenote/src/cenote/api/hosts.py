"""The hosts that run clusters, an extension of Cenote for the scope ``cenote:admin``."""

from __future__ import annotations

from http import HTTPMethod

import msgspec

from cenote.api.auth import ADMIN
from cenote.api.service import Call, Service, answer, operation
from cenote.http.routing import Response
from cenote.model import catalog
from cenote.model.records import Cluster, Host

PATH = "/v2/cenote/hosts"


class PortsView(msgspec.Struct):
    """The port range for clusters, how many ports clusters hold, and how many other programs use."""

    first: int
    last: int
    claimed: int
    busy: int


class HostView(msgspec.Struct, kw_only=True):
    """An online host.  Memory may be overcommitted: the sizes of clusters may add up to more than it has."""

    id: str
    name: str
    address: str
    cpus: int
    memory_mib: int
    promised_memory_mib: int
    promised_storage_mib: int
    clusters: int
    versions: dict[str, str]
    ports: PortsView


class HostsAnswer(msgspec.Struct):
    hosts: list[HostView]


@operation(HTTPMethod.GET, PATH, scope=ADMIN, answer=HostsAnswer)
async def list_hosts(request: Call) -> Response:
    """List the online hosts with their resources, and what of these is allocated to clusters."""
    return answer(HostsAnswer([_view(request.service, host) for host in request.service.store.hosts()]))


def clusters_on(service: Service, host: Host) -> list[Cluster]:
    """Return the clusters with a node on a host, those that are being deleted included."""
    return [
        stored.value
        for stored in service.store.clusters()
        if any(node.host == host.id for node in stored.value.nodes)
    ]


def _view(service: Service, host: Host) -> HostView:
    here = clusters_on(service, host)
    return HostView(
        id=host.id,
        name=host.name,
        address=host.address,
        cpus=host.cpus,
        memory_mib=host.memory_mib,
        promised_memory_mib=sum(catalog.SIZES[cluster.size].memory_mib for cluster in here),
        promised_storage_mib=sum(cluster.storage_mib for cluster in here),
        clusters=len(here),
        versions=host.versions,
        ports=PortsView(
            host.first_port, host.last_port, len(service.store.ports(host.id)), len(host.busy_ports)
        ),
    )


ROUTES = (list_hosts,)
