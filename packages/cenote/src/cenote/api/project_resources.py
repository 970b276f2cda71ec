"""The resources of a project, which are clusters."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPMethod

import msgspec
from msgspec.structs import replace

from cenote.api import paging
from cenote.api.auth import READ, UPDATE
from cenote.api.call import Call
from cenote.api.operation import Body, answer, operation
from cenote.api.projects import ONE, members, named
from cenote.errors import Invalid, NotFound
from cenote.http.routing import Response
from cenote.model.event_records import EventType
from cenote.model.groups import CLUSTER_URN, Project
from cenote.model.records import Cluster

MAX_RESOURCES = 200


class Assign(Body):
    """URNs of clusters, as in ``do:dbaas:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30``."""

    resources: list[str]


class ResourceLinks(msgspec.Struct):
    self: str


class ResourceView(msgspec.Struct):
    """A cluster of a project."""

    urn: str
    assigned_at: datetime
    links: ResourceLinks
    status: str


class AssignedAnswer(msgspec.Struct):
    resources: list[ResourceView]


class ResourcesAnswer(msgspec.Struct):
    resources: list[ResourceView]
    links: paging.Links
    meta: paging.Meta


@operation(HTTPMethod.GET, ONE + "/resources", scope=READ, answer=ResourcesAnswer, paged=True)
async def list_project_resources(request: Call) -> Response:
    """List the clusters of a project, oldest first."""
    found = members(request.service, named(request))
    page, links, meta = paging.page_of(request, found)
    return answer(ResourcesAnswer([_resource(request, cluster) for cluster in page], links, meta))


@operation(HTTPMethod.POST, ONE + "/resources", scope=UPDATE, body=Assign, answer=AssignedAnswer)
async def assign_resources(request: Call) -> Response:
    """Assign clusters to a project; the response has a status for each, also for unknown ones."""
    project = named(request)
    urns = list(dict.fromkeys((await request.decoded(Assign)).resources))
    if len(urns) > MAX_RESOURCES:
        raise Invalid(f"resources: at most {MAX_RESOURCES} are allowed in one request.")
    for urn in urns:
        if not urn.startswith(CLUSTER_URN):
            raise Invalid(f"resources: {urn[:80]!a} is not the URN of a cluster, {CLUSTER_URN}ID.")
    return answer(AssignedAnswer([await _assign(request, urn, project) for urn in urns]))


async def _assign(request: Call, urn: str, project: Project) -> ResourceView:
    now = datetime.now(UTC).replace(microsecond=0)

    def assigned(cluster: Cluster) -> Cluster:
        if cluster.project_id == project.id:
            return cluster
        return replace(cluster, project_id=project.id, assigned_at=now)

    try:
        before = (await request.service.confirmed_cluster(urn.removeprefix(CLUSTER_URN))).value
        note = request.note(EventType.CLUSTER_UPDATE)
        after = (await request.service.store.update_cluster(before.id, assigned, note)).value
    except NotFound:  # Terraform assigns clusters that it has just deleted to the default project
        return ResourceView(urn, now, ResourceLinks(_link(request, urn)), "not_found")
    view = _resource(request, after)
    view.status = "already_assigned" if before.project_id == project.id else "assigned"
    return view


def _resource(request: Call, cluster: Cluster) -> ResourceView:
    urn = f"{CLUSTER_URN}{cluster.id}"
    assigned_at = cluster.assigned_at or cluster.created_at
    return ResourceView(urn, assigned_at, ResourceLinks(_link(request, urn)), "ok")


def _link(request: Call, urn: str) -> str:
    return f"{str(request.base_url).rstrip('/')}/v2/databases/{urn.removeprefix(CLUSTER_URN)}"


ROUTES = (list_project_resources, assign_resources)
